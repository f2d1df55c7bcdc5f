"""`register_ship(MyTrainer)`: gives any FeatureTrainer a twin `MyTrainer_SHIP` that also learns from synthetic features
of new classes."""

import torch

from ..core.errors import UserError
from ..core.features import FeatureSet
from ..core.prompts import ClassTokens
from ..core.registry import register
from ..core.randomness import seed_all
from .pretrain import Pretraining, load_generator
from .synthesis import SHOTS, SyntheticLoader, Synthesizer, read_class_names

NOTHING_TO_SYNTHESIZE = "no label-only classes: the generator is for later runs, training sees real features alone"


class ShipMixin:
    """In front of a FeatureTrainer: (1) before training, pretrain or load the generator; (2) build the head over base +
    new names; (3) join each batch of B real features with B synthetic ones, labels uniform over the new classes (paper
    section 3.3).

    Base classes are those with training images, new ones those with only a name; there may be none of a kind. Without
    new classes the run is a source for other datasets: the plain method, and a generator. Without base ones (a target
    of such a source, paper section 4.2.2) batches are B synthetic features.
    """

    def new_classnames(self):
        """Names of the label-only classes: from the file TRAINER.SHIP.NEW_CLASSES, else those of the task."""
        options = self.cfg.TRAINER.SHIP
        if options.NEW_CLASSES:
            return read_class_names(options.NEW_CLASSES, self.task.real_classnames())
        return self.task.label_only_classnames()

    def head_classnames(self):
        return self.task.real_classnames() + self.new_classnames() or super().head_classnames()

    def has_training_data(self):
        return super().has_training_data() or bool(self.new_classnames())

    def build_model(self):
        """Nothing yet: the head may need synthetic features, so it is built once there is a generator (or a
        checkpoint)."""

    def before_train(self):
        self.synthesizer = None
        if self.has_training_data():
            with self.watch.stage("generator"):
                self.synthesizer = self.build_synthesizer()
        seed_all(self.cfg.SEED, "head")
        super().build_model()
        super().before_train()

    def build_synthesizer(self):
        """Pretrains the generator on the base features, or loads it, and binds it to the new names; None where there
        are none of these."""
        options, n_ctx = self.cfg.TRAINER.SHIP, self.cfg.TRAINER.SHIP.N_CTX
        base, new = self.task.real_classnames(), self.new_classnames()
        new = ClassTokens(new, self.backbone, n_ctx=n_ctx) if new else None
        if options.INIT_FROM:
            generator, self.generator_report = load_generator(options.INIT_FROM, options, self.backbone, self.device)
        elif not base:
            raise UserError(
                f"TASK {self.cfg.TASK} needs the generator of a source run: give its folder with TRAINER.SHIP.INIT_FROM"
            )
        else:
            base = ClassTokens(base, self.backbone, n_ctx=n_ctx)
            pretraining = Pretraining(
                options,
                self.backbone,
                self.train_set,
                base,
                self.cfg.SEED,
                self.output_dir,
                self.cfg.TRAIN.CHECKPOINT_SECONDS,
            )
            generator, self.generator_report = pretraining.run()
        if new is None:
            print(f"{type(self).__name__}: {NOTHING_TO_SYNTHESIZE}")
            return None
        return Synthesizer(generator, new, first_label=len(self.task.real_classnames()))

    def per_class(self):
        """How many synthetic features stand for a class: the shots; without a number of shots, as many as a base class
        has images."""
        shots, base = self.cfg.DATASET.NUM_SHOTS, len(self.task.real_classnames())
        if shots >= 1:
            return shots
        return round(len(self.train_set) / base) if base else SHOTS

    def make_loader(self):
        if self.task.real_classnames():
            return super().make_loader()
        loader = self.cfg.DATALOADER.TRAIN_X
        return SyntheticLoader(self.synthesizer, loader.BATCH_SIZE, self.per_class(), self.device, loader.DROP_LAST)

    def parse_batch_train(self, batch):
        features, labels = super().parse_batch_train(batch)
        if self.synthesizer is None or not self.task.real_classnames():
            return features, labels
        synthetic, synthetic_labels = self.synthesizer.batch(len(labels), self.device)
        return torch.cat([features, synthetic]), torch.cat([labels, synthetic_labels])

    def support_set(self):
        """Real few-shot features of the base classes and as many synthetic ones of each new class."""
        seed_all(self.cfg.SEED, "support")
        parts = [super().support_set()] if self.task.real_classnames() else []
        if self.synthesizer:
            parts.append(self.synthesizer.balanced(self.per_class(), self.device))
        return FeatureSet.join(parts)

    def source_path(self):
        """In a run without images of its own, the generator's source too."""
        return super().source_path() or (self.cfg.TRAINER.SHIP.INIT_FROM if not self.task.real_classnames() else "")

    def extra_results(self):
        source_only = self.TRAINS and getattr(self, "synthesizer", True) is None
        remarks = {"remarks": {"accuracy": NOTHING_TO_SYNTHESIZE}} if source_only else {}
        return {**super().extra_results(), "generator": getattr(self, "generator_report", {}), **remarks}


def register_ship(trainer):
    """Registers and returns `<Name>_SHIP`, the twin of a FeatureTrainer class. One line is all a method needs:

    register_ship(MyTrainer)
    """
    attributes = {"__doc__": f"{trainer.__name__} + SHIP.", "__module__": trainer.__module__}
    return register(type(f"{trainer.__name__}_SHIP", (ShipMixin, trainer), attributes))
