"""Config keys: those that every method shares, how a method or a plug-in declares its own, and what PREC and OPTIM
stand for."""

from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from dassl.optim import build_lr_scheduler
from yacs.config import CfgNode as CN

from .files import UserError, nearest
from .identity import leaves
from .tasks import TASKS

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "amp")
ASIDE = "SHIP"  # this project's name: the node for keys of ours whose name a checkout has taken
ALIKE = 0.85  # from this similarity on a method's name is taken for a misspelt hook


class Range(NamedTuple):
    """Numbers from `low` to `high` (None: without an end); `above`: without `low` itself."""

    low: float
    high: float | None = None
    above: bool = False

    def __contains__(self, value):
        over = value > self.low if self.above else value >= self.low
        return over and (self.high is None or value <= self.high)

    def __str__(self):
        start = f"above {self.low}" if self.above else f"{self.low} or more"
        return start if self.high is None else f"{start}, at most {self.high}"


# What the shared options allow: a Range of numbers, or some words.
LIMITS: dict[str, Range | tuple] = {
    "DATASET.NUM_SHOTS": Range(-1),
    "DATASET.SUBSAMPLE_CLASSES": ("all", "base", "new"),
    "DATASET.FOLD": Range(0),
    "DATALOADER.NUM_WORKERS": Range(0),
    "DATALOADER.TRAIN_X.BATCH_SIZE": Range(1),
    "FEATURES.VIEWS": Range(0),
    "OPTIM.LR": Range(0),
    "OPTIM.MAX_EPOCH": Range(0),
    "OPTIM.SCHEDULE_PER": ("epoch", "step"),
    "TRAIN.CHECKPOINT_SECONDS": Range(0),
    "TEST.ALL_SUBSET": Range(0),
    "TEST.FINAL_MODEL": ("last_step", "best_val"),
}


# The options that all methods share, with their defaults.
SHARED: dict[str, object] = {
    "RUN.DATASET": "",  # who the run is, as its folder and the tables call it: names of the data set's configuration
    "RUN.CONFIG": "",  # and of the trainer's
    "RUN.UNSEEDED": False,  # whether SEED was drawn, as none was given
    "DATASET.SUBSAMPLE_CLASSES": "all",
    "DATASET.TEMPLATE": None,  # hand-written prompt, or a list whose features are averaged; None: the data set's own
    "DATASET.SKIP_BAD_IMAGES": False,
    "DATASET.HALVES_SEED": -1,  # from 0 on: base and new halves are drawn by it, not taken in the order of labels
    "DATASET.FOLD": 0,  # of TASK leave_classes_out: which draw of classes and images
    "DATASET.SPLIT": "",  # of a folder without test/: "" is 50/20/30 of each class; none trains on all, tests nothing
    # True leaves the last partial batch of an epoch out, as Dassl does; False keeps it, as other published code does
    "DATALOADER.TRAIN_X.DROP_LAST": True,
    "INPUT.RRCROP_SCALE": (0.08, 1.0),  # Dassl before 0.6 lacks it, and crops so
    "FEATURES.VIEWS": 4,  # random training views per image, encoded once; 0 encodes augmented images, as CoOp does
    "FEATURES.SEED": 0,  # of the views; independent of the run's seed, so that all seeds share one cache
    "FEATURES.DIR": "features_cache",
    "FEATURES.BANK": "",  # a feature bank to use instead of images
    "TRAIN.CHECKPOINT_SECONDS": 30.0,  # a rolling checkpoint at the first epoch end after this time
    "TEST.ALL_SUBSET": 0,  # for slow methods: base2new's `all` on so many test images, marked as such; 0: on all
    "OPTIM.SCHEDULE_PER": "epoch",  # epoch (Dassl's way) or step (that of other published code)
}


def declare(cfg, key, default):
    """Adds an option to `cfg`; one that exists keeps its value (a stock train.py may have set it). Where it has another
    type it is somebody else's, and ours goes below ASIDE (checkout.py)."""
    section, _, name = key.rpartition(".")
    node = node_of(cfg, section)
    if name not in node:
        node[name] = default
    elif is_taken(node[name], default):
        declare(cfg, f"{ASIDE}.{key.removeprefix('TRAINER.')}", default)


def node_of(cfg, section):
    """The node under a dotted name, made where there is none."""
    for name in section.split(".") if section else ():
        if name not in cfg:
            cfg[name] = CN(new_allowed=cfg.is_new_allowed())
        cfg = cfg[name]
    return cfg


def is_taken(value, default):
    """Whether an option's `value` cannot be one of ours, by the type of our `default`; a number may be whole."""
    numbers = type(value) is int and type(default) is float
    alike = type(value) is type(default) or isinstance(value, (list, tuple)) and isinstance(default, (list, tuple))
    return default is not None and not (alike or numbers)


def options_of(kind: type, table: str = "OPTIONS") -> dict:
    """{key: default} of a trainer's or a plug-in's section: its OPTIONS over those of its base classes; or its
    LIMITS."""
    options = {}
    for base in reversed(kind.__mro__):
        options.update(vars(base).get(table, {}))
    return options


def check_options(cfg, parts: list[type]):
    """Raises UserError for the first option outside of its LIMITS: of those that all share, and of `parts`."""
    limits = dict(LIMITS)
    for part in parts:
        limits |= {f"TRAINER.{part.SECTION}.{name}": allowed for name, allowed in options_of(part, "LIMITS").items()}
    values = dict(leaves(cfg))
    for key, allowed in limits.items():
        value = values.get(key)
        if value is not None and value not in allowed:
            expected = allowed if isinstance(allowed, Range) else f"one of {', '.join(nearest(value, allowed))}"
            raise UserError(f"{key} is {value}; it must be {expected}")


def parts_of(trainer: type, cfg=None) -> list[type]:
    """A trainer's class and those of its plug-ins, as far as they have a section of options; with a configuration also
    those of the trainers that it reads the options of."""
    further = trainer.reads(cfg) if cfg is not None and hasattr(trainer, "reads") else []
    kinds = [part for kind in (trainer, *further) for part in (kind, *getattr(kind, "PLUGINS", ()))]
    return [kind for kind in dict.fromkeys(kinds) if getattr(kind, "SECTION", None)]


def declare_options(cfg, kinds):
    """Adds the shared options to `cfg`, and those of the trainers and plug-ins `kinds`."""
    theirs = cfg.get("TASK", "fewshot") not in TASKS
    declare(cfg, f"{ASIDE}.TASK" if theirs else "TASK", "" if theirs else "fewshot")  # "": what theirs stands for
    own = {f"TRAINER.{kind.SECTION}.{name}": value for kind in kinds for name, value in options_of(kind).items()}
    for key, default in {**SHARED, **own}.items():
        declare(cfg, key, default)


def settings_of(path) -> dict:
    """{dotted key: value} of a configuration file over its `_BASE_` files. (Whichever Dassl is installed: upstream's
    knows no `_BASE_`.)"""
    text = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    bases, found = text.pop("_BASE_", []), {}
    text.pop("PER_DATASET", None)
    for base in [bases] if isinstance(bases, str) else bases:
        found |= settings_of(Path(path).parent / base)
    return found | dict(leaves(text))


def check_overrides(cls: type, base: type, without_effect: tuple = ()):
    """Raises UserError where the subclass `cls` of `base` overrides a hook that is never called, or defines a method
    whose name is nearly that of one."""
    hooks = [name for name in dir(base) if not name.startswith("_")]
    for name, value in vars(cls).items():
        if name.startswith("_") or not callable(value) or isinstance(value, type):
            continue
        if name in without_effect:
            instead = "build_head, make_loader, compute_loss or tune instead"
            raise UserError(f"{cls.__name__}.{name} would never be called by {base.__name__}.fit(): override {instead}")
        close = [] if name in hooks else get_close_matches(name, hooks, 1, ALIKE)
        if close:
            raise UserError(f"{cls.__name__}.{name} is no hook of {base.__name__}; {close[0]} is")


def resolve_precision(requested, device, key):
    """-> (dtype of the frozen tower, whether to autocast). auto is fp16 on a GPU and fp32 on a CPU, where fp16 is
    refused; bf16 runs on both.

    `key` is the config key that holds `requested`; errors name it.
    """
    on_cpu = torch.device(device).type == "cpu"
    if on_cpu and requested in ("fp16", "amp"):
        raise UserError(f"{key} {requested} needs a GPU; on a CPU set {key} fp32 (or auto, which chooses by device)")
    if requested == "auto":
        requested = "fp32" if on_cpu else "fp16"
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(requested, torch.float32)
    return dtype, requested == "amp"


def build_schedule(optimizer, optim, steps):
    """dassl.optim's schedule; with SCHEDULE_PER step its epochs are steps, of which an epoch has `steps()`. Raises
    UserError where upstream's warm-up hands PyTorch what it takes no longer."""
    if optim.SCHEDULE_PER == "step":
        if optim.WARMUP_EPOCH > 0:
            raise UserError("OPTIM.SCHEDULE_PER step has no warm-up; set OPTIM.WARMUP_EPOCH -1")
        optim = optim.clone()
        optim.defrost()
        optim.MAX_EPOCH *= steps()
    try:
        return build_lr_scheduler(optimizer, optim)
    except TypeError as error:
        if optim.WARMUP_EPOCH <= 0 or "__init__()" not in str(error):
            raise
        raise UserError(
            "the warm-up of the installed Dassl fails on PyTorch 2.7 and newer: put this repository's third_party "
            "first on PYTHONPATH, or pip install 'torch<2.7'; OPTIM.WARMUP_EPOCH -1 trains without, with other results"
        ) from error
