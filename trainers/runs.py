"""Finished runs, opened again."""

import os

import torch
from dassl.config import get_cfg_default
from dassl.engine import build_trainer

from . import extend_cfg
from .core.files import UserError


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


def open_run(folder, options=()):
    """The trainer of the finished run in the output folder `folder`, with its trained head; its data are not opened.

    `options` (KEY, VALUE, ...) go over the run's own configuration. Raises UserError where there is no such run, or
    where its config.yaml does not say what the model was trained with.
    """
    trainer = build_trainer(run_config(folder, ["OUTPUT_DIR", "", *options]))
    trainer.load_model(folder, overridden=options[::2])
    return trainer
