"""Registration beside other people's trainers."""

from typing import TypeVar

from dassl.engine import TRAINER_REGISTRY

Trainer = TypeVar("Trainer", bound=type)


def register(trainer: Trainer) -> Trainer:
    """Registers a trainer class under its own name; where a stock trainer has that name already, ours steps aside.
    Returns the class."""
    if trainer.__name__ not in TRAINER_REGISTRY.registered_names():
        TRAINER_REGISTRY.register()(trainer)
    elif TRAINER_REGISTRY.get(trainer.__name__) is not trainer:
        print(f"{trainer.__name__} is registered already, by {TRAINER_REGISTRY.get(trainer.__name__).__module__}")
    return trainer


def known_trainers() -> dict[str, type]:
    """{name: class} of all registered trainers."""
    return {name: TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()}
