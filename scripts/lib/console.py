"""What scripts share: numbers and runs that users name at the command line."""

import argparse
from collections.abc import Callable

from trainers.core.files import UserError


def at_least(least: int) -> Callable[[str], int]:
    """The type, for argparse, of a whole number that is at least this."""

    def number(text):
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"it must be at least {least}, found {text}")
        return int(text)

    return number


def ship_of(trainer):
    """The plug-in SHIP of a run's trainer. Raises UserError where it has none."""
    for plugin in trainer.plugins:
        if plugin.NAME == "SHIP":
            return plugin
    raise UserError(f"expected the output folder of a trainer with SHIP, and this run's is {trainer.cfg.TRAINER.NAME}")
