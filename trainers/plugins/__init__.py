"""Which plug-ins there are, and trainers composed with them: CoOp_SHIP is CoOp with SHIP."""

from itertools import combinations

from ..core import config
from ..core.files import UserError
from ..core.registry import Trainer, known_trainers, register
from .gate import GATE
from .sar import SAR
from .ship import SHIP

# In the order in which their suffixes stand in a name: data, loss, decision.
PLUGINS = (SHIP, SAR, GATE)


def composed(trainer: type, plugins) -> type:
    """The class of `trainer` with `plugins` (classes of Plugin, in order). Raises UserError with the reason where the
    method cannot have one of them."""
    for plugin in plugins:
        reason = plugin.refuses(trainer)
        if reason:
            raise UserError(f"{trainer.__name__} cannot have {plugin.NAME}: {reason}")
    name = "_".join([trainer.__name__, *(plugin.NAME for plugin in plugins)])
    doc = f"{trainer.__name__} with {' and '.join(plugin.NAME for plugin in plugins)}."
    return type(name, (trainer,), {"__doc__": doc, "__module__": trainer.__module__, "PLUGINS": tuple(plugins)})


def register_twins(trainer: Trainer, plugins=PLUGINS) -> Trainer:
    """Registers a method, alone and with every combination of `plugins` that it can have; returns its class. Raises
    UserError for a trainer that is no FeatureTrainer."""
    if not hasattr(trainer, "REFUSES"):
        composed(trainer, plugins)  # says what to do
    register(trainer)
    fitting = [plugin for plugin in plugins if not plugin.refuses(trainer)]
    for count in range(1, len(fitting) + 1):
        for chosen in combinations(fitting, count):
            register(composed(trainer, chosen))
    return trainer


def register_ship(trainer: type) -> type:
    """Registers and returns `<Name>_SHIP` of a FeatureTrainer class. One line is all that a method from outside needs:

    register_ship(MyTrainer)
    """
    return register(composed(trainer, (SHIP,)))


def split_name(name: str) -> tuple[str, list[type]]:
    """A trainer's name -> (the method's name, its plug-ins' classes). Raises UserError for suffixes out of order."""
    parts, plugins = name.split("_"), []
    by_name = {plugin.NAME: plugin for plugin in PLUGINS}
    while len(parts) > 1 and parts[-1] in by_name:
        plugins.insert(0, by_name[parts.pop()])
    ordered = sorted(plugins, key=PLUGINS.index)
    if plugins != ordered or len(set(plugins)) < len(plugins):
        right = "_".join(["_".join(parts), *(plugin.NAME for plugin in dict.fromkeys(ordered))])
        raise UserError(f"trainer '{name}': its plug-ins stand in another order; type {right}")
    return "_".join(parts), plugins


def explain(name: str) -> str:
    """Why there is no trainer called `name`, where its parts are known; "" otherwise. Raises UserError for suffixes
    out of order."""
    method, plugins = split_name(name)
    trainer = known_trainers().get(method)
    if not plugins or trainer is None:
        return ""
    reasons = [f"{plugin.NAME}: {plugin.refuses(trainer)}" for plugin in plugins if plugin.refuses(trainer)]
    return f"{method} cannot have {'; '.join(reasons)}" if reasons else ""


def declare_options(cfg):
    """Adds the options of all registered trainers and their plug-ins, and the shared ones, to `cfg`."""
    parts = [part for trainer in known_trainers().values() for part in config.parts_of(trainer)]
    config.declare_options(cfg, dict.fromkeys([*parts, *PLUGINS]))
