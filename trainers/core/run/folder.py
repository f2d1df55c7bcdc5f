"""The output folder of a run: whether a finished run is in it, and how it makes room for another one."""

import os
from pathlib import Path

from ..errors import UserError
from .results import NAME, read


def set_aside(folder):
    """Moves what a run left in `folder` to <folder>.replaced-<n> beside it, its results first: what is left is never
    taken for a finished run. The folder itself stays, as whoever started us may hold a lock on it."""
    folder = Path(folder)
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not names:
        return
    if not {"config.yaml", NAME} & {*names} and not any(name.startswith("log.txt") for name in names):
        raise UserError(f"--force moves aside what a run left, but {folder} is no run's folder (no config.yaml in it)")
    number = 1
    while (target := folder.with_name(f"{folder.name}.replaced-{number}")).exists():
        number += 1
    target.mkdir()
    for name in sorted(names, key=lambda name: name != NAME):
        os.rename(folder / name, target / name)
    print(f"--force: what lay in {folder} is now in {target}")


def is_finished(folder):
    """Whether `folder` holds a finished run that says which: this one, or another, with which nothing is mixed."""
    path = os.path.join(folder, NAME)
    return os.path.isfile(path) and bool(read(path).get("identity"))
