"""Registration beside other people's trainers."""

from dassl.engine import TRAINER_REGISTRY


def register(trainer):
    """Registers a trainer class under its own name; where a stock trainer has that name already, ours steps aside.
    Returns the class."""
    if trainer.__name__ not in TRAINER_REGISTRY.registered_names():
        TRAINER_REGISTRY.register()(trainer)
    else:
        print(f"{trainer.__name__} is registered already, by {TRAINER_REGISTRY.get(trainer.__name__).__module__}")
    return trainer


def known_trainers():
    """{name: class} of all registered trainers."""
    return {name: TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()}
