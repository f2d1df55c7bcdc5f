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
    return type(name, (trainer,), {"__module__": trainer.__module__, "PLUGINS": tuple(plugins)})


def register_twins(trainer: Trainer) -> Trainer:
    """Registers a method, alone and with every combination of plug-ins that it can have; returns its class. Raises
    UserError for a trainer that is no FeatureTrainer."""
    if not hasattr(trainer, "REFUSES"):
        composed(trainer, PLUGINS)  # says what to do
    register(trainer)
    fitting = [plugin for plugin in PLUGINS if not plugin.refuses(trainer)]
    for count in range(1, len(fitting) + 1):
        for chosen in combinations(fitting, count):
            register(composed(trainer, chosen))
    return trainer


def register_ship(trainer: type) -> type:
    """Registers and returns `<Name>_SHIP` of a FeatureTrainer class. One line is all that a method from outside needs:

    register_ship(MyTrainer)
    """
    return register(composed(trainer, (SHIP,)))


def explain(name: str) -> str:
    """Why there is no trainer called `name`, where its parts are known; "" otherwise."""
    words, by_name = name.split("_"), {plugin.NAME: plugin for plugin in PLUGINS}
    plugins = [plugin for word, plugin in by_name.items() if word in words]
    method = "_".join(word for word in words if word not in by_name)
    trainer = known_trainers().get(method)
    if not plugins or trainer is None:
        return ""
    right = "_".join([method, *(plugin.NAME for plugin in plugins)])
    if name != right:
        return f"trainer '{name}': its plug-ins stand in another order; type {right}"
    reasons = [f"{plugin.NAME}: {plugin.refuses(trainer)}" for plugin in plugins if plugin.refuses(trainer)]
    return f"{method} cannot have {'; '.join(reasons)}" if reasons else ""


def declare_options(cfg):
    """Adds the options of all registered trainers and their plug-ins, and the shared ones, to `cfg`."""
    parts = [part for trainer in known_trainers().values() for part in config.parts_of(trainer)]
    config.declare_options(cfg, dict.fromkeys([*parts, *PLUGINS]))
