import copy

from .defaults import DEFAULTS
from .node import Config


def get_cfg_default():
    """A fresh config with every key of Dassl 0.6.3 at its default."""
    return Config(copy.deepcopy(DEFAULTS))
