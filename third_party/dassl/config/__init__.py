from yacs.config import CfgNode

from .defaults import DEFAULTS
from .node import Config


def get_cfg_default():
    """A fresh config with every key of Dassl 0.6.3 at its default."""
    cfg = Config()
    cfg.update(CfgNode(DEFAULTS))  # CfgNode copies
    return cfg


def clean_cfg(cfg, trainer):
    """Removes the options of other trainers than the one called `trainer`, so that a printed config is short."""
    for key in [*cfg.TRAINER]:
        if key not in ("NAME", trainer.upper()):
            del cfg.TRAINER[key]
