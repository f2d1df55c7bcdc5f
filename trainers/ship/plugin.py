"""SHIP as a plug-in: before training it pretrains or loads the generator; the head is built over base + new names; each
batch of B real features gains B synthetic ones, labels uniform over the new classes (paper section 3.3).

Base classes are those with training images, new ones those with only a name; there may be none of a kind. Without new
classes the run is a source for other data sets: the plain method, and a generator. Without base ones (a target of such
a source, paper section 4.2.2) batches are B synthetic features.
"""

import os
from functools import cached_property, partial

from ..core.config import declare
from ..core.errors import UserError
from ..core.features.feature_set import FeatureSet
from ..core.model.prompts import ClassTokens, encode_classes, templates_for
from ..core.model.text_encoder import in_fp32
from ..core.names import plain, read_lines
from ..core.plugin import Plugin
from ..core.randomness import seed_all
from ..generative.synthesis import CHUNK, SHOTS, Extended, Synthesizer, SyntheticLoader
from ..generative.training import FOLDER, STAGE, GeneratorTraining
from . import collapse, matching
from .model import build_framework, check, decisive_keys, load_generator
from .training_free import GENERATORS, Fitting

MATCHES = ("none", "mean")
NOTHING_TO_SYNTHESIZE = "no label-only classes: the generator is for later runs, training sees real features alone"


def extend_cfg(cfg):
    declare(
        cfg,
        "TRAINER.SHIP",
        FRAMEWORK="vae",  # or gan (Table 4); bimodal: a prior for each class, from its text
        # clip: prompts through CLIP's text encoder; mlp: features by a network from scratch (Table 4); shift, gaussian:
        # without pretraining
        GENERATOR="clip",
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
        # auto: the weight that keeps 90% of the variance within a class. A key of its own, because a value's type is
        # fixed: KL_WEIGHT could not be a number and "auto"
        KL_WEIGHT_RULE="fixed",
        EPISODES=False,  # a third of the base classes is label-only in each step of the pretraining
        ROWS=CHUNK,  # synthetic features that are made together, ahead of the steps; 1: each batch's when it is used
        BASE_SHARE=0.0,  # of a batch's synthetic features, those of base classes
        MATCH="none",  # mean: synthetic features are moved by what base classes' real and synthetic means differ
        NEW_CLASSES="",  # a text file of label-only class names, a name a line
        INIT_FROM="",  # a trained generator (the generator/ folder of a run) to use instead of training one
    )


class SHIP(Plugin):
    NAME, SECTION = "SHIP", "SHIP"

    synthesizer = of_base = None
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
            with self.trainer.watch.stage(STAGE):
                self.synthesizer = self.build_synthesizer()
        seed_all(self.cfg.SEED, "head")  # where a head starts does not depend on how much the generator drew

    def build_synthesizer(self):
        """Pretrains the generator on the base features, or loads it, and binds it to the new names; None where there
        are none of these."""
        options, trainer = self.options, self.trainer
        check(options)
        if options.MATCH not in MATCHES or not 0 <= options.BASE_SHARE < 1:
            raise UserError(
                f"TRAINER.SHIP.MATCH is one of {', '.join(MATCHES)}, found '{options.MATCH}'; BASE_SHARE is a share "
                f"from 0 to below 1, found {options.BASE_SHARE}"
            )
        tower = in_fp32(trainer.backbone)  # as in the released code: half precision spoils the gradients
        new, base = (
            ClassTokens(names, tower, n_ctx=options.N_CTX) if names else None for names in (self.new, self.base)
        )
        if options.INIT_FROM:
            generator, self.report = load_generator(options.INIT_FROM, options, tower, trainer.device)
        elif not self.base:
            raise UserError(
                f"TASK {self.cfg.TASK} needs the generator of a source run: give its folder with TRAINER.SHIP.INIT_FROM"
            )
        else:
            generator, self.report = self.pretrain(tower, base)
        if options.MATCH == "mean":
            generator = self.matched(generator, base)
        if new is None:
            print(f"SHIP: {NOTHING_TO_SYNTHESIZE}")
            return None
        if options.BASE_SHARE and base:
            self.of_base = Synthesizer(generator, base, first_label=0)
        return Synthesizer(generator, new, first_label=len(self.base))

    def pretrain(self, tower, classes):
        """-> (generator, report). Nothing is drawn here but in the training itself, so its draws stay the paper's."""
        options, trainer, found = self.options, self.trainer, self.trainer.train_set
        templates = templates_for(self.cfg.DATASET.NAME, self.cfg.DATASET.TEMPLATE)
        weight = options.KL_WEIGHT
        if options.KL_WEIGHT_RULE == "auto":
            weight = collapse.keeping_weight(collapse.class_spectrum(found, len(self.base)))
            print(f"generator: KL weight {weight:.4g}, which keeps {collapse.KEPT:.0%} of the variance within classes")
        kind = Fitting if options.GENERATOR in GENERATORS else GeneratorTraining
        build = partial(build_framework, options, tower, weight, templates)
        generator, report = kind(build, trainer, self.SECTION, decisive_keys(options), "SHIP generator", classes).run()
        if "kl" in report and weight > 0:
            report |= collapse.report(report, found, encode_classes(tower, templates, self.base), weight)
        return generator, report

    def matched(self, generator, classes):
        """`generator`, moved by what base classes say, or said in the source run."""
        if not self.base:
            shift = matching.load(os.path.dirname(self.report["loaded_from"]))
        else:
            shift = matching.mean_difference(generator, self.trainer.train_set, classes, self.cfg.SEED)
            matching.save(os.path.join(self.trainer.output_dir, FOLDER), shift)
        self.report["match_shift"] = shift.norm().item()
        print(f"generator: synthetic features are moved by {self.report['match_shift']:.3g}, as base classes say")
        return matching.Matched(generator, shift.to(self.trainer.device))

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
        return Extended(loader, self.sizes, 1 if alone else self.options.ROWS)

    def sizes(self, count):
        """Whose synthetic features join `count` real ones, and how many of each."""
        of_base = min(round(count * self.options.BASE_SHARE), count - 1) if self.of_base else 0
        return [(self.synthesizer, count - of_base), (self.of_base, of_base)]

    def support(self, found):
        """Real few-shot features of the base classes and as many synthetic ones of each new class."""
        seed_all(self.cfg.SEED, "support")
        if self.synthesizer is None:
            return found
        made = self.synthesizer.balanced(self.per_class())
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
    key = "TRAINER.SHIP.NEW_CLASSES"
    lines = read_lines(path, key)
    known = {plain(name): f"the base class '{name}'" for name in base_names}
    problems = []
    for number, name in enumerate(lines, 1):
        if not name:
            problems.append(f"line {number} is empty")
        elif plain(name) in known:
            problems.append(f"line {number} '{name}' repeats {known[plain(name)]}")
        else:
            known[plain(name)] = f"line {number}"
    if problems:
        raise UserError(f"{key} {path}: {'; '.join(problems[:5])}{' ...' if len(problems) > 5 else ''}")
    return lines
