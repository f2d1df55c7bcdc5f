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
from ..generative.frameworks import KEPT, build_framework, fit_framework, keeping_weight, load_framework
from ..generative.generator import TRAINING_FREE
from ..generative.synthesis import CHUNK, Extended, Synthesizer, SyntheticLoader
from ..generative.training import FINAL, FOLDER, STAGE, GeneratorTraining

DRAWS = 32  # synthetic features whose mean stands for a class
SHOTS = 16  # the paper's: what an epoch without real images takes for a class, where the run does not say


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
    LIMITS = {
        "FRAMEWORK": ("vae", "gan"),
        "GENERATOR": ("clip", "mlp", *TRAINING_FREE),
        "KL_WEIGHT_RULE": ("fixed", "auto"),
        "SHARE": Range(0, 1),
    }

    framework = synthesizer = None
    report = {}
    final = {}  # what is saved of the generator, where this run trained it
    folder = ""  # the output folder of the run, where it was loaded

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
        key, path = "TRAINER.SHIP.NEW_CLASSES", self.options.NEW_CLASSES
        if not self.options.SHARE:
            return []
        if not path:
            return self.trainer.task.label_only_classnames()
        if self.trainer.task.share < 1:
            raise UserError(f"{key}: the new classes of a fold are some of the data set's: leave it out")
        names = read_names(path, key)
        require_different(names, self.base, f"{key} {path}")
        return names

    def extra_names(self):
        return self.new

    # ---- the generator

    def prepare(self):
        if not self.options.SHARE:
            return
        if self.base or self.new:
            with self.trainer.watch.stage(STAGE):
                self.open_framework()
            if self.new:
                self.synthesizer = self.over(self.new, first_label=len(self.base))
        seed_all(self.cfg.SEED, "head")  # where a head starts does not depend on how much the generator drew

    def open_framework(self):
        """-> the generator and what trains it: as another run or, where it was loaded, this one left them, else trained
        now."""
        source = self.options.INIT_FROM or self.folder
        if self.framework is None and source:
            self.framework, self.report = load_framework(source, self.options, self.tower, self.trainer.device)
        elif self.framework is None:
            self.pretrain()
        return self.framework

    @property
    def tower(self):
        """The text tower, in float32 as in the released code: half precision spoils the gradients."""
        return in_fp32(self.trainer.backbone)

    def pretrain(self):
        """Nothing is drawn here but in the training itself, so its draws stay the paper's."""
        options, trainer, tower = self.options, self.trainer, self.tower
        if not self.base:
            raise UserError(f"TASK {self.cfg.TASK} needs TRAINER.SHIP.INIT_FROM, the folder of a run with a generator")
        require_effect(options)
        classes, weight, auto = ClassTokens(self.base, tower, options.N_CTX), options.KL_WEIGHT, {}
        if options.KL_WEIGHT_RULE == "auto":
            weight = keeping_weight(trainer.train_set, len(self.base))
            auto = {"kl_weight": weight}
            print(f"generator: KL weight {weight:.4g}, which keeps {KEPT:.0%} of the variance within classes")
        build, epochs = partial(build_framework, options, tower, weight), options.EPOCHS
        if options.GENERATOR in TRAINING_FREE:
            about = trainer.templates, trainer.train_set, classes, trainer.task.share
            build, epochs = partial(fit_framework, options, tower, *about), 0
        self.framework, terms, self.final = GeneratorTraining(build, trainer, self.SECTION, classes, epochs).run()
        self.report = {**terms, **auto}

    def save(self, folder):
        if folder and self.final and not os.path.exists(os.path.join(folder, FOLDER, FINAL)):
            write(self.final, os.path.join(folder, FOLDER), name=FINAL)

    def load(self, folder):
        self.folder = folder

    # ---- synthetic features

    def over(self, names, first_label=0):
        """-> Synthesizer of classes of any names, labels from `first_label` on."""
        generator = self.open_framework().generator
        return Synthesizer(generator, ClassTokens(names, self.tower, self.options.N_CTX), first_label)

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
        alone, share = self.trainer.STEPS_DRAW or not self.trainer.on_features, self.options.SHARE
        rows = 1 if alone else self.options.ROWS
        return Extended(loader, self.synthesizer, rows, lambda batch: max(round(share * len(batch["label"])), 1))

    def support(self, support):
        """Real few-shot features of the base classes and as many synthetic ones of each new class."""
        if self.synthesizer is None:
            return support
        seed_all(self.cfg.SEED, "support")
        synthetic = self.synthesizer.balanced(max(round(self.options.SHARE * self.per_class()), 1))
        return synthetic if support is None else FeatureSet.join([support, synthetic])

    def class_means(self, names):
        """The unit mean of DRAWS synthetic features of each class, of the same z for all: a class's mean does not
        depend on the others."""
        if not self.options.SHARE:
            return None
        synthesizer = self.over(names)
        draw = torch.Generator().manual_seed(derive_seed(self.cfg.SEED, self.NAME, "class means"))
        z = torch.randn(DRAWS, synthesizer.generator.latent_dim, generator=draw).repeat(len(names), 1)
        features = synthesizer.features(torch.arange(len(names)).repeat_interleave(DRAWS), z)
        return F.normalize(features.view(len(names), DRAWS, -1).mean(1), dim=-1)

    def synthetic(self, names, per_class):
        if not self.options.SHARE:
            return None
        synthesizer = self.over(names)
        size = per_class, synthesizer.generator.latent_dim
        z = torch.cat([torch.randn(size, generator=self.draws("synthetic", name)) for name in names])
        return synthesizer.features(torch.arange(len(names)).repeat_interleave(per_class), z)

    # ---- records

    def source(self):
        """In a run without images of its own."""
        return "" if self.base else self.options.INIT_FROM

    def results(self):
        return {"generator": self.report}


def require_effect(options):
    """Raises UserError where an option was set that the generator or its framework does not look at."""
    makes_prompts, is_trained = options.GENERATOR == "clip", options.GENERATOR not in TRAINING_FREE
    looked_at = {"GLOBAL": makes_prompts, "SEQUENTIAL": makes_prompts, "FRAMEWORK": is_trained}
    looked_at["KL_WEIGHT_RULE"] = is_trained and options.FRAMEWORK == "vae"
    for key, has_effect in looked_at.items():
        if not has_effect and options[key] != SHIP.OPTIONS[key]:
            kind = f"GENERATOR {options.GENERATOR} and FRAMEWORK {options.FRAMEWORK}"
            raise UserError(f"TRAINER.SHIP.{key} {options[key]} has no effect with {kind}: leave it out")
