"""Few-shot CLIP for classes that have only a name. `fit` and `load` are the Python API (api.py); the trainers and
plug-ins are for CoOp and Dassl. A file dropped into this folder is found; there is no list to edit.

In a CoOp checkout the folder works under any name: installed it is `ship_trainers`, copied or linked it is
`trainers.ship_trainers`. The import is cheap; `extend_cfg(cfg)`, at the end of CoOp's own `extend_cfg`, registers the
trainers and declares their options.
"""

import importlib
import pkgutil
import sys
import warnings
from pathlib import Path

from .core.version import __version__

WHERE = dict.fromkeys(["fit", "load", "Model"], ".api") | {"adapt": ".hosts"}
WHERE |= dict.fromkeys(["explain", "register_ship", "register_twins"], ".plugins")
WHERE |= dict.fromkeys(["open_run", "run_config"], ".runs")
NO_METHODS = ("api", "runs")
__all__ = ["__version__", "extend_cfg", *WHERE]

# The runtime and the embedded backbone: in the package, or beside it in a checkout. Last, so that another Dassl wins.
for _folder in (Path(__file__).resolve().parent, Path(__file__).resolve().parents[1]):
    _folder = str(_folder / "third_party")
    if Path(_folder, "miniclip").is_dir() and _folder not in sys.path:
        sys.path.append(_folder)


def __getattr__(name):
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(WHERE[name], __name__), name)


def extend_cfg(cfg):
    """Registers every method in this folder, and adds the defaults of their options, the plug-ins' and the shared ones
    to `cfg`; a key that is there already keeps its value. A file that does not import is left out with a warning."""
    for module in pkgutil.iter_modules(__path__):
        if module.ispkg or module.name in NO_METHODS:
            continue
        try:
            importlib.import_module(f".{module.name}", __name__)
        except Exception as error:  # one broken file must not stop the other trainers
            warnings.warn(f"{__path__[0]}/{module.name}.py is left out: {type(error).__name__}: {error}", stacklevel=2)
    importlib.import_module(".plugins", __name__).declare_options(cfg)
