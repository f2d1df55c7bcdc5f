"""What scripts share at the command line: images and lists that users name."""

import os

from dassl.utils import UserError, read_text

from datasets.core.files import IMAGE_SUFFIXES


def image_files(places: list[str]) -> list[str]:
    """Image files: those named, and those below folders that are named, sorted. Raises UserError for one that is not
    there."""
    found = []
    for place in places:
        if os.path.isdir(place):
            below = [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names]
            images = sorted(path for path in below if path.lower().endswith(IMAGE_SUFFIXES))
            if not images:
                raise UserError(f"no image ({', '.join(IMAGE_SUFFIXES)}) in the folder {place}")
            found += images
        else:
            found.append(place)
    missing = [file for file in found if not os.path.isfile(file)]
    if missing:
        raise UserError(f"{len(missing)} of the images are missing or no files, first {', '.join(missing[:5])}")
    return found


def read_lines(path: str, option: str, what: str) -> list[str]:
    """The lines of the text file that `option` names, empty ones left out. Raises UserError where there are none."""
    try:
        lines = [line.strip() for line in read_text(path, f"a text file with a {what} a line").split("\n")]
    except UserError as error:
        raise UserError(f"{option}: {error}") from None
    lines = [line for line in lines if line]
    if not lines:
        raise UserError(f"{option} {path} holds no {what}; it must be a text file with a {what} a line")
    return lines


def generator_folder(folder, cfg):
    """Where a run's generator is: in its own folder, or where TRAINER.SHIP.INIT_FROM took it from."""
    own = os.path.join(folder, "generator")
    return own if os.path.isdir(own) or not cfg.TRAINER.SHIP.INIT_FROM else cfg.TRAINER.SHIP.INIT_FROM
