"""A run's output folder, opened again by the scripts that look at what it trained."""

import os
import sys

import torch
from dassl.config import get_cfg_default
from dassl.utils import UserError

import trainers


def run_config(folder, options=()):
    """The configuration of the run in `folder`, `options` (KEY, VALUE, ...) on top. Raises UserError where there is
    none."""
    path = os.path.join(folder, "config.yaml")
    if not os.path.isfile(path):
        raise UserError(f"no config.yaml in {folder}; expected the output folder of a run, .../<Trainer>/<cfg>/seed<s>")
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    cfg.merge_from_file(path)
    cfg.merge_from_list(list(options))
    cfg.USE_CUDA = cfg.USE_CUDA and torch.cuda.is_available()
    return cfg


def generator_folder(folder, cfg):
    """Where the run's generator is: in its own folder, or where TRAINER.SHIP.INIT_FROM took it from."""
    own = os.path.join(folder, "generator")
    return own if os.path.isdir(own) or not cfg.TRAINER.SHIP.INIT_FROM else cfg.TRAINER.SHIP.INIT_FROM


def say_errors(main):
    """Runs `main`; of a UserError the message alone is shown, exit code 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
