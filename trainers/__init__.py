"""Prompt-learning trainers on frozen CLIP features. A file dropped into this folder is found and registered; there is
no list to edit.

In a stock CoOp checkout the folder works under any name: `import trainers.ship_trainers as ship` registers the
trainers, and `ship.extend_cfg(cfg)` at the end of CoOp's own `extend_cfg` declares their options.
"""

import importlib
import pkgutil

from . import ship
from .core import config

_modules = [
    importlib.import_module(f".{found.name}", __name__) for found in pkgutil.iter_modules(__path__) if not found.ispkg
]


def extend_cfg(cfg):
    """Adds the defaults that every module here declares beside its code; a key that is there already keeps its
    value."""
    for module in (config, ship, *_modules):
        if hasattr(module, "extend_cfg"):
            module.extend_cfg(cfg)
