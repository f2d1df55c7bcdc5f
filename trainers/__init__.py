"""Prompt-learning trainers on frozen CLIP features. A file dropped into this folder is found and registered; there is
no list to edit.

In a stock CoOp checkout the folder works under any name: installed it is `ship_trainers`, copied or linked it is
`trainers.ship_trainers`. Importing it registers the trainers; `ship_trainers.extend_cfg(cfg)` at the end of CoOp's own
`extend_cfg` declares their options.
"""

import importlib
import os
import pkgutil

import torch
from dassl.config import get_cfg_default
from dassl.engine import build_trainer

from . import requires  # noqa: F401  (first: it names a missing package in one line)
from .core import UserError, config
from .core.run import checkpoints, identity
from .core.run.checkpoints import Checkpoints
from .core.version import __version__
from .plugins import PLUGINS, explain

__all__ = ["__version__", "explain", "extend_cfg", "open_run", "run_config"]

_modules = [
    importlib.import_module(f".{found.name}", __name__) for found in pkgutil.iter_modules(__path__) if not found.ispkg
]


def extend_cfg(cfg):
    """Adds the defaults that every module here declares beside its code; a key that is there already keeps its
    value."""
    for module in (config, *(importlib.import_module(plugin.__module__) for plugin in PLUGINS), *_modules):
        if hasattr(module, "extend_cfg"):
            module.extend_cfg(cfg)


def run_config(folder, options=()):
    """The configuration of the run in `folder`, `options` (KEY, VALUE, ...) on top; keys of other people's trainers
    stay in it. Raises UserError where there is none."""
    path = os.path.join(folder, "config.yaml")
    if not os.path.isfile(path):
        raise UserError(f"no config.yaml in {folder}; expected the output folder of a run, .../<Trainer>/<cfg>/seed<s>")
    cfg = get_cfg_default()
    extend_cfg(cfg)
    cfg.set_new_allowed(True)  # a run in a CoOp checkout has the options of that checkout's trainers too
    cfg.merge_from_file(path)
    cfg.set_new_allowed(False)
    cfg.merge_from_list(list(options))
    cfg.USE_CUDA = cfg.USE_CUDA and torch.cuda.is_available()
    return cfg


def open_run(folder, epoch=None, options=()):
    """The trainer of the finished run in the output folder `folder`, with its trained head; its data are not opened.

    `options` (KEY, VALUE, ...) go over the run's own configuration. Raises UserError where there is no such run.
    """
    trainer = build_trainer(run_config(folder, ["OUTPUT_DIR", "", *options]))
    trainer.load_model(folder, epoch=epoch)
    checkpoint = checkpoints.read(Checkpoints(folder, trainer.MODEL_NAME).find(epoch))
    # What the caller sets, and files, which may be gone, are not compared.
    own, trained = identity.options(trainer.cfg), checkpoint.get("identity") or {}
    compared = [key for key in own if key not in options[::2] and key.split(".")[-1] not in identity.FILES]
    differing = [key for key in compared if trained.get(key, own[key]) != own[key]]
    if differing:
        key = differing[0]
        raise UserError(
            f"{os.path.join(folder, 'config.yaml')} was changed after training: {key} was {trained[key]!r}, is now "
            f"{own[key]!r} ({len(differing)} such options); put back what it was"
        )
    return trainer
