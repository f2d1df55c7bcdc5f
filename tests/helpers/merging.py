"""Whether a configuration file resolves: merged as train.py does it, without data and without a model."""

from types import SimpleNamespace

from dassl.engine import TRAINER_REGISTRY
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import nn

import train

from .rehearsal import command

FAMILIES = {"miniclip": "MiniCLIP", "vit_b16": "ViT-B/16"}  # how a file's name starts, and its backbone


def check_merges(config, dataset):
    """Merges `<Trainer>/<cfg>` with a data set as train.py does, and tries what its words name.

    Raises whatever is wrong: a file that is not there, an unknown key, a value of the wrong type or that names nothing.
    -> the frozen config
    """
    cfg = train.setup_cfg(train.parse_args(command("data", "out", config, dataset)))
    family = next((family for family in FAMILIES if config.split("/")[1].startswith(family)), None)
    assert family, f"{config}: the name of a configuration starts with its backbone's: {', '.join(FAMILIES)}"
    assert cfg.MODEL.BACKBONE.NAME == FAMILIES[family], f"{config} is on {cfg.MODEL.BACKBONE.NAME}"
    build_lr_scheduler(build_optimizer(nn.Linear(1, 1), cfg.OPTIM), cfg.OPTIM)
    assert cfg.OPTIM.SCHEDULE_PER in ("epoch", "step"), cfg.OPTIM.SCHEDULE_PER
    kind = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)
    kind.check_cfg(SimpleNamespace(), cfg)  # what the method itself refuses
    for plugin in kind.PLUGINS:
        plugin(SimpleNamespace(cfg=cfg))
    return cfg
