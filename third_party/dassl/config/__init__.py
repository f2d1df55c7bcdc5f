from yacs.config import CfgNode

from .defaults import DEFAULTS
from .node import Config


def get_cfg_default():
    """A fresh config with every key of Dassl 0.6.3 at its default."""
    cfg = Config()
    cfg.update(CfgNode(DEFAULTS))  # CfgNode copies
    return cfg
