"""SHIP as a plug-in: before training it pretrains or loads the generator; the head is built over base + new names; each
batch of B real features gains B synthetic ones, labels uniform over the new classes (paper section 3.3).

Base classes are those with training images, new ones those with only a name; there may be none of a kind. Without new
classes the run is a source for other data sets: the plain method, and a generator. Without base ones (a target of such
a source, paper section 4.2.2) batches are B synthetic features.
"""

from functools import cached_property

import torch

from ..core.config import declare
from ..core.errors import UserError
from ..core.features.feature_set import FeatureSet
from ..core.model.prompts import ClassTokens
from ..core.model.text_encoder import in_fp32
from ..core.plugin import Plugin
from ..core.randomness import seed_all
from ..generative.synthesis import SHOTS, Synthesizer, SyntheticLoader
from ..generative.training import GeneratorTraining
from .model import ARCHITECTURE, TRAINING, build_framework, load_generator

NOTHING_TO_SYNTHESIZE = "no label-only classes: the generator is for later runs, training sees real features alone"


def extend_cfg(cfg):
    declare(
        cfg,
        "TRAINER.SHIP",
        FRAMEWORK="vae",  # or gan (Table 4)
        GENERATOR="clip",  # prompts through CLIP's text encoder; mlp: features by a network from scratch (Table 4)
        N_CTX=4,  # L, length of the synthesized prompts (Table 6)
        GLOBAL=True,  # learn global prompts p_1 .. p_L beside the local bias (Table 5)
        SEQUENTIAL=False,  # one local bias per position instead of one for all (Table 5)
        HIDDEN_DIM=4096,
        LATENT_DIM=0,  # of z; 0: the width of the token embedding, as in the paper
        LR=1e-3,
        WEIGHT_DECAY=0.01,
        EPOCHS=50,
        BATCH_SIZE=256,
        KL_WEIGHT=1.0,
        NEW_CLASSES="",  # a text file of label-only class names, a name a line
        INIT_FROM="",  # a trained generator (the generator/ folder of a run) to use instead of training one
    )


class SHIP(Plugin):
    NAME, SECTION = "SHIP", "SHIP"

    synthesizer = None
    report = {}

    @classmethod
    def refuses(cls, trainer_class):
        reason = super().refuses(trainer_class)
        return reason or ("" if trainer_class.trains else "it trains nothing that synthetic features could enter")

    @cached_property
    def base(self):
        """Names of the classes with training images."""
        return self.trainer.task.real_classnames()

    @cached_property
    def new(self):
        """Names of the label-only classes: from the file TRAINER.SHIP.NEW_CLASSES, else those of the task."""
        if self.options.NEW_CLASSES:
            return read_class_names(self.options.NEW_CLASSES, self.base)
        return self.trainer.task.label_only_classnames()

    def extra_names(self):
        return self.new

    def prepare(self):
        if self.base or self.new:
            with self.trainer.watch.stage("generator"):
                self.synthesizer = self.build_synthesizer()
        seed_all(self.cfg.SEED, "head")  # where a head starts does not depend on how much the generator drew

    def build_synthesizer(self):
        """Pretrains the generator on the base features, or loads it, and binds it to the new names; None where there
        are none of these."""
        options, trainer = self.options, self.trainer
        tower = in_fp32(trainer.backbone)  # as in the released code: half precision spoils the gradients
        new = ClassTokens(self.new, tower, n_ctx=options.N_CTX) if self.new else None
        if options.INIT_FROM:
            generator, self.report = load_generator(options.INIT_FROM, options, tower, trainer.device)
        elif not self.base:
            raise UserError(
                f"TASK {self.cfg.TASK} needs the generator of a source run: give its folder with TRAINER.SHIP.INIT_FROM"
            )
        else:
            training = GeneratorTraining(
                lambda: build_framework(options, tower),
                options,
                "TRAINER.SHIP",
                ARCHITECTURE + TRAINING,
                "SHIP generator",
                tower.weights_hash,
                trainer.train_set,
                ClassTokens(self.base, tower, n_ctx=options.N_CTX),
                self.cfg.SEED,
                trainer.output_dir,
                self.cfg.TRAIN.CHECKPOINT_SECONDS,
            )
            generator, self.report = training.run()
        if new is None:
            print(f"SHIP: {NOTHING_TO_SYNTHESIZE}")
            return None
        return Synthesizer(generator, new, first_label=len(self.base))

    def per_class(self):
        """How many synthetic features stand for a class: the shots; without a number of shots, as many as a base class
        has images."""
        shots = self.cfg.DATASET.NUM_SHOTS
        if shots >= 1:
            return shots
        return round(len(self.trainer.train_set) / len(self.base)) if self.base else SHOTS

    def loader(self):
        c = self.cfg.DATALOADER.TRAIN_X
        return SyntheticLoader(self.synthesizer, c.BATCH_SIZE, self.per_class(), self.trainer.device, c.DROP_LAST)

    def batch(self, features, labels):
        if self.synthesizer is None or not self.base:
            return features, labels
        synthetic, synthetic_labels = self.synthesizer.batch(len(labels), features.device)
        return torch.cat([features, synthetic]), torch.cat([labels, synthetic_labels])

    def support(self, found):
        """Real few-shot features of the base classes and as many synthetic ones of each new class."""
        seed_all(self.cfg.SEED, "support")
        if self.synthesizer is None:
            return found
        made = self.synthesizer.balanced(self.per_class(), self.trainer.device)
        return made if found is None else FeatureSet.join([found, made])

    def source(self):
        """In a run without images of its own."""
        return "" if self.base else self.options.INIT_FROM

    def results(self):
        source_only = self.trainer.trains and self.base and self.synthesizer is None
        remarks = {"remarks": {"accuracy": NOTHING_TO_SYNTHESIZE}} if source_only else {}
        return {"generator": self.report, **remarks}


def read_class_names(path, base_names):
    """Names from a text file, a name a line. Raises UserError naming lines that are empty, repeat each other or repeat
    a base class."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file.read().rstrip("\n").split("\n")]
    except FileNotFoundError:
        raise UserError(
            f"TRAINER.SHIP.NEW_CLASSES {path} does not exist; it must be a text file with a class name a line"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"TRAINER.SHIP.NEW_CLASSES {path} cannot be read as UTF-8 text: {error}") from None
    known = {_plain(name): f"the base class '{name}'" for name in base_names}
    problems = []
    for number, name in enumerate(lines, 1):
        if not name:
            problems.append(f"line {number} is empty")
        elif _plain(name) in known:
            problems.append(f"line {number} '{name}' repeats {known[_plain(name)]}")
        else:
            known[_plain(name)] = f"line {number}"
    if problems:
        raise UserError(
            f"TRAINER.SHIP.NEW_CLASSES {path}: {'; '.join(problems[:5])}{' ...' if len(problems) > 5 else ''}"
        )
    return lines


def _plain(name):
    """What a prompt makes of a name: underscores and case do not matter to it."""
    return " ".join(name.replace("_", " ").lower().split())
