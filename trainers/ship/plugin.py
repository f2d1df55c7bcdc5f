"""`register_ship(MyTrainer)`: gives any FeatureTrainer a twin `MyTrainer_SHIP` that also learns from synthetic features of new classes."""
import torch

from ..core.errors import UserError
from ..core.features import FeatureSet
from ..core.prompts import ClassTokens
from ..core.registry import register
from ..core.randomness import seed_all
from .pretrain import Pretraining, load_generator
from .synthesis import Synthesizer, read_class_names


class ShipMixin:
    """In front of a FeatureTrainer: (1) before training, pretrain or load the generator; (2) build the head over base + new names;
    (3) join each batch of B real features with B synthetic ones, labels uniform over the new classes (paper section 3.3)."""

    def new_classnames(self):
        """Names of the label-only classes: from the file TRAINER.SHIP.NEW_CLASSES, or the half of the dataset that SUBSAMPLE_CLASSES base leaves out."""
        options, base = self.cfg.TRAINER.SHIP, list(self.dataset.classnames)
        if options.NEW_CLASSES:
            return read_class_names(options.NEW_CLASSES, base)
        if self.cfg.DATASET.get("SUBSAMPLE_CLASSES", "all") == "base":
            return list(self.new_half.classnames)
        raise UserError(
            f"{type(self).__name__} synthesizes classes that have only a name, and there are none: use DATASET.SUBSAMPLE_CLASSES base, "
            "or give a text file of names with TRAINER.SHIP.NEW_CLASSES"
        )

    def head_classnames(self):
        return super().head_classnames() + self.new_classnames()

    def build_model(self):
        """Nothing yet: the head may need synthetic features, so it is built once there is a generator (or a checkpoint)."""

    def before_train(self):
        with self.watch.stage("generator"):
            self.synthesizer = self.build_synthesizer()
        seed_all(self.cfg.SEED, "head")
        super().build_model()
        super().before_train()

    def build_synthesizer(self):
        """Pretrains the generator on the base features, or loads it, and binds it to the new names."""
        options, n_ctx = self.cfg.TRAINER.SHIP, self.cfg.TRAINER.SHIP.N_CTX
        new = ClassTokens(self.new_classnames(), self.backbone, n_ctx=n_ctx)
        if options.INIT_FROM:
            generator, self.generator_report = load_generator(options.INIT_FROM, options, self.backbone, self.device)
        else:
            base = ClassTokens(list(self.dataset.classnames), self.backbone, n_ctx=n_ctx)
            pretraining = Pretraining(
                options, self.backbone, self.train_set, base, self.cfg.SEED, self.output_dir, self.cfg.TRAIN.CHECKPOINT_SECONDS
            )
            generator, self.generator_report = pretraining.run()
        return Synthesizer(generator, new, first_label=len(self.dataset.classnames))

    def parse_batch_train(self, batch):
        features, labels = super().parse_batch_train(batch)
        synthetic, synthetic_labels = self.synthesizer.batch(len(labels), self.device)
        return torch.cat([features, synthetic]), torch.cat([labels, synthetic_labels])

    def support_set(self):
        """Real few-shot features of the base classes and as many synthetic ones of each new class."""
        seed_all(self.cfg.SEED, "support")
        shots = max(self.cfg.DATASET.NUM_SHOTS, 1)
        return FeatureSet.join([super().support_set(), self.synthesizer.balanced(shots, self.device)])

    def extra_results(self):
        return {**super().extra_results(), "generator": getattr(self, "generator_report", {})}


def register_ship(trainer):
    """Registers and returns `<Name>_SHIP`, the twin of a FeatureTrainer class. One line is all a method needs:

        register_ship(MyTrainer)
    """
    twin = type(f"{trainer.__name__}_SHIP", (ShipMixin, trainer), {"__doc__": f"{trainer.__name__} + SHIP.", "__module__": trainer.__module__})
    return register(twin)
