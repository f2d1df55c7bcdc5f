"""SHIP as a plug-in: before training it pretrains or loads the generator; the head is built over base + new names; each
batch of B real features gains B synthetic ones, labels uniform over the new classes (paper section 3.3).

Base classes are those with training images, new ones those with only a name; there may be none of a kind. Without new
classes the run is a source for other data sets: the plain method, and a generator. Without base ones (a target of such
a source, paper section 4.2.2) batches are B synthetic features.
"""

import os
from functools import cached_property, partial

import torch
import torch.nn.functional as F

from ..core.checkpoints import write
from ..core.config import Range
from ..core.data import FeatureSet
from ..core.files import UserError, read_names, require_different
from ..core.model.prompts import ClassTokens
from ..core.model.text_encoder import in_fp32
from ..core.plugin import Plugin
from ..core.randomness import derive_seed, seed_all
from ..generative import kl_weight
from ..generative.build import build_framework, check, decisive_keys, load_generator
from ..generative.synthesis import CHUNK, SHOTS, Extended, Synthesizer, SyntheticLoader
from ..generative.training import FINAL, FOLDER, STAGE, GeneratorTraining
from ..generative.training_free import GENERATORS, Fitting

DRAWS = 32  # synthetic features whose mean stands for a class
NOTHING_TO_SYNTHESIZE = "no label-only classes: the generator is for later runs, training sees real features alone"


class SHIP(Plugin):
    NAME, SECTION = "SHIP", "SHIP"
    OPTIONS = {
        "FRAMEWORK": "vae",  # or gan (Table 4)
        # clip: prompts through CLIP's text encoder; mlp: features by a network from scratch (Table 4); shift, gaussian:
        # without pretraining
        "GENERATOR": "clip",
        "N_CTX": 4,  # L, length of the synthesized prompts (Table 6)
        "GLOBAL": True,  # learn global prompts p_1 .. p_L beside the local bias (Table 5)
        "SEQUENTIAL": False,  # one local bias per position instead of one for all (Table 5)
        "HIDDEN_DIM": 4096,
        "LATENT_DIM": 0,  # of z; 0: the width of the token embedding, as in the paper
        "LR": 1e-3,
        "WEIGHT_DECAY": 0.01,
        "EPOCHS": 50,
        "BATCH_SIZE": 256,
        "KL_WEIGHT": 1.0,
        # auto: the weight that keeps 90% of the variance within a class. A key of its own, because a value's type is
        # fixed: KL_WEIGHT could not be a number and "auto"
        "KL_WEIGHT_RULE": "fixed",
        "SHARE": 1.0,  # synthetic rows per real row, 0 to 1; 0 leaves the method as it is without SHIP, bit for bit
        "ROWS": CHUNK,  # synthetic features that are made together, ahead of the steps; 1: each batch's when it is used
        "NEW_CLASSES": "",  # a text file of label-only class names, a name a line
        "INIT_FROM": "",  # a trained generator (the generator/ folder of a run) to use instead of training one
    }

    LIMITS = {"SHARE": Range(0, 1)}

    synthesizer = generator = None
    final = ()  # what is saved of the generator, where this run trained it
    folder = ""  # the output folder of the run, where it was loaded
    report = {}

    @classmethod
    def refuses(cls, trainer_class):
        if reason := super().refuses(trainer_class):
            return reason
        usable = trainer_class.trains or trainer_class.USES_CLASS_MEANS
        return "" if usable else "it trains nothing that synthetic features could enter"

    @cached_property
    def base(self):
        """Names of the classes with training images."""
        return self.trainer.task.real_classnames()

    @cached_property
    def new(self):
        """Names of the label-only classes: from the file TRAINER.SHIP.NEW_CLASSES, else those of the task."""
        if not self.options.SHARE:
            return []
        if self.options.NEW_CLASSES and self.trainer.task.share < 1:
            raise UserError(
                "TRAINER.SHIP.NEW_CLASSES: the new classes of a fold are some of the data set's: leave it out"
            )
        if self.options.NEW_CLASSES:
            path = self.options.NEW_CLASSES
            names = read_names(path, "TRAINER.SHIP.NEW_CLASSES")
            require_different(names, self.base, f"TRAINER.SHIP.NEW_CLASSES {path}")
            return names
        return self.trainer.task.label_only_classnames()

    def extra_names(self):
        return self.new

    def prepare(self):
        if not self.options.SHARE:
            return
        if self.base or self.new:
            with self.trainer.watch.stage(STAGE):
                self.synthesizer = self.build_synthesizer()
        seed_all(self.cfg.SEED, "head")  # where a head starts does not depend on how much the generator drew

    def build_synthesizer(self):
        """Pretrains the generator on the base features, or loads it, and binds it to the new names; None where there
        are none of these."""
        options, trainer = self.options, self.trainer
        check(options)
        tower = in_fp32(trainer.backbone)  # as in the released code: half precision spoils the gradients
        new, base = (
            ClassTokens(names, tower, n_ctx=options.N_CTX) if names else None for names in (self.new, self.base)
        )
        if options.INIT_FROM:
            self.take(lambda: load_generator(options.INIT_FROM, options, tower, trainer.device))
        elif not self.base:
            raise UserError(
                f"TASK {self.cfg.TASK} needs the generator of a source run: give its folder with TRAINER.SHIP.INIT_FROM"
            )
        else:
            self.take(lambda: self.pretrain(tower, base))
        if new is None:
            print(f"SHIP: {NOTHING_TO_SYNTHESIZE}")
            return None
        return Synthesizer(self.generator, new, first_label=len(self.base))

    def take(self, make):
        """(generator, report, what is saved where this run trained it), as `make()` gives them; once for all members of
        an ensemble with these options."""
        key = f"{self.NAME} {self.options}"
        if key not in self.trainer.shared:
            self.trainer.shared[key] = make()
        self.generator, self.report, *self.final = self.trainer.shared[key]

    def pretrain(self, tower, classes):
        """-> (generator, report, what is saved of it). Nothing is drawn here but in the training itself, so its draws
        stay the paper's."""
        options, trainer, found = self.options, self.trainer, self.trainer.train_set
        weight, auto = options.KL_WEIGHT, {}
        if options.KL_WEIGHT_RULE == "auto":
            weight = kl_weight.keeping_weight(kl_weight.class_spectrum(found, len(self.base)))
            auto = {"kl_weight": weight}
            print(f"generator: KL weight {weight:.4g}, which keeps {kl_weight.KEPT:.0%} of the variance within classes")
        kind = Fitting if options.GENERATOR in GENERATORS else GeneratorTraining
        build = partial(build_framework, options, tower, weight, trainer.templates)
        training = kind(build, trainer, self.SECTION, decisive_keys(options), "SHIP generator", classes)
        generator, report = training.run()
        return generator, {**report, **auto}, training.final

    def per_class(self):
        """How many synthetic features stand for a class: the shots; without a number of shots, as many as a base class
        has images."""
        shots = self.cfg.DATASET.NUM_SHOTS
        if shots >= 1:
            return shots
        return round(len(self.trainer.train_set) / len(self.base)) if self.base else SHOTS

    def loader(self):
        c = self.cfg.DATALOADER.TRAIN_X
        return SyntheticLoader(self.synthesizer, c.BATCH_SIZE, self.per_class(), self.options.ROWS, c.DROP_LAST)

    def batches(self, loader):
        if self.synthesizer is None or not self.base:
            return loader
        # Made ahead only where a step draws nothing itself, so that all is drawn in one order; and images are large.
        alone = self.trainer.STEPS_DRAW or not self.trainer.on_features
        return Extended(loader, self.synthesizer, 1 if alone else self.options.ROWS, self.options.SHARE)

    def support(self, support):
        """Real few-shot features of the base classes and as many synthetic ones of each new class."""
        if not self.options.SHARE:
            return support
        seed_all(self.cfg.SEED, "support")
        if self.synthesizer is None:
            return support
        synthetic = self.synthesizer.balanced(max(round(self.options.SHARE * self.per_class()), 1))
        return synthetic if support is None else FeatureSet.join([support, synthetic])

    @torch.no_grad()
    def class_means(self, names):
        """The unit mean of DRAWS synthetic features of each class, of the same z for all: a class's mean does not
        depend on the others."""
        options, trainer = self.options, self.trainer
        if not options.SHARE:
            return None
        self.require_generator()
        tower = in_fp32(trainer.backbone)
        draw = torch.Generator().manual_seed(derive_seed(self.cfg.SEED, self.NAME, "class means"))
        z = torch.randn(DRAWS, self.generator.latent_dim, generator=draw).repeat(len(names), 1)
        labels = torch.arange(len(names)).repeat_interleave(DRAWS)
        classes = ClassTokens(names, tower, n_ctx=options.N_CTX)
        features = Synthesizer(self.generator, classes, first_label=0).features(labels, z)
        return F.normalize(features.view(len(names), DRAWS, -1).mean(1), dim=-1)

    def synthetic(self, names, per_class):
        if not self.options.SHARE:
            return None
        self.require_generator()
        labels, size = torch.arange(len(names)).repeat_interleave(per_class), (per_class, self.generator.latent_dim)
        z = torch.cat([torch.randn(size, generator=self.draws("synthetic", name)) for name in names])
        classes = ClassTokens(names, in_fp32(self.trainer.backbone), n_ctx=self.options.N_CTX)
        return Synthesizer(self.generator, classes, first_label=0).features(labels, z)

    def require_generator(self):
        """Reads it where a loaded run did not need it so far."""
        options, trainer = self.options, self.trainer
        if self.generator is None:
            source, tower = options.INIT_FROM or self.folder, in_fp32(trainer.backbone)
            self.take(lambda: load_generator(source, options, tower, trainer.device))

    def save(self, folder):
        final = next(iter(self.final), None)
        if folder and final and not os.path.exists(os.path.join(folder, FOLDER, FINAL)):
            write(final, os.path.join(folder, FOLDER), name=FINAL)

    def load(self, folder):
        self.folder = folder

    def source(self):
        """In a run without images of its own."""
        return "" if self.base else self.options.INIT_FROM

    def results(self):
        source_only = self.trainer.trains and self.base and self.synthesizer is None and self.options.SHARE
        remarks = {"remarks": {"accuracy": NOTHING_TO_SYNTHESIZE}} if source_only else {}
        return {"generator": self.report, **remarks}
