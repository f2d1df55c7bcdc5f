"""Class names: by position, since data sets may have one twice (ImageNet has two missiles); and in text files."""

import os
from collections.abc import Iterable
from pathlib import Path

from .errors import UserError


def plain(name: str) -> str:
    """What a prompt makes of a name: underscores and case do not matter to it."""
    return " ".join(name.replace("_", " ").lower().split())


EXPECTED = "it must be a text file with a name a line"


def read_lines(path: str | Path, key: str) -> list[str]:
    """The lines of a text file with a name a line, stripped. Raises UserError that names the config `key`, also for
    pipes and devices: to open them could wait or go on for ever."""
    if not os.path.exists(path):
        raise UserError(f"{key} {path} does not exist; {EXPECTED}")
    if not os.path.isfile(path):
        raise UserError(f"{key} {path} is a folder, a pipe or a device; {EXPECTED}")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{key} {path} cannot be read as UTF-8 text: {error}; {EXPECTED}") from None
    return [line.strip() for line in text.rstrip("\n").split("\n")]


def read_names(path: str | Path, key: str) -> list[str]:
    """The lines of such a file that are not empty and do not begin with #. Raises UserError where there are none."""
    found = [line for line in read_lines(path, key) if line and not line.startswith("#")]
    if not found:
        raise UserError(f"{key} {path} holds no name; {EXPECTED}")
    return found


def find_positions(wanted: Iterable[str], known: Iterable[str]) -> tuple[list[int], list[str]]:
    """Where the names `wanted` stand in `known` -> (positions, the names that do not).

    A name that is there twice stands for each of its places in turn, so equal names are told apart by their order.
    """
    places: dict[str, list[int]] = {}
    positions, unknown = [], []
    for i, name in enumerate(known):
        places.setdefault(name, []).append(i)
    for name in wanted:
        if places.get(name):
            positions.append(places[name].pop(0))
        else:
            unknown.append(name)
    return positions, unknown
