"""What scripts share: numbers, images and runs that users name at the command line."""

import argparse
import os
from collections.abc import Callable

from trainers.core.files import UserError
from trainers.core.folders import list_images

OPTS = "KEY VALUE pairs over the run's configuration, such as FEATURES.BANK FILE"


def at_least(least: int) -> Callable[[str], int]:
    """The type, for argparse, of a whole number that is at least this."""

    def number(text):
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"it must be at least {least}, found {text}")
        return int(text)

    return number


def image_files(places: list[str]) -> list[str]:
    """Image files: those named, and those below folders that are named, sorted, without hidden ones. Raises UserError
    for one that is not there."""
    files = []
    for place in places:
        below = [os.path.join(place, name) for name in list_images(place)] if os.path.isdir(place) else [place]
        if not below:
            raise UserError(f"no image that Pillow reads in the folder {place}")
        files += below
    missing = [file for file in files if not os.path.isfile(file)]
    if missing:
        raise UserError(f"{len(missing)} of the images are missing or no files, first {', '.join(missing[:5])}")
    return files


def ship_of(trainer):
    """The plug-in SHIP of a run's trainer. Raises UserError where it has none."""
    for plugin in trainer.plugins:
        if plugin.NAME == "SHIP":
            return plugin
    raise UserError(f"expected the output folder of a trainer with SHIP, and this run's is {trainer.cfg.TRAINER.NAME}")
