"""Files and folders. Whatever is written appears whole or not at all."""

import contextlib
import json
import os
import uuid
import warnings

from .errors import MissingFile, UserError


def mkdir_if_missing(dirname):
    """Create a folder with its parents; no complaint where it exists."""
    if dirname:
        os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath):
    """True if `fpath` is a file; otherwise a warning and False."""
    found = os.path.isfile(fpath)
    if not found:
        warnings.warn(f"no file at {fpath}", stacklevel=2)
    return found


def listdir_nohidden(path, sort=False):
    """Names in the folder `path` that do not start with a dot."""
    names = [name for name in os.listdir(path) if not name.startswith(".")]
    return sorted(names) if sort else names


@contextlib.contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`; on success it replaces `path` in one step, on an error it is removed."""
    path = os.fspath(path)
    mkdir_if_missing(os.path.dirname(path))
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def read_json(fpath):
    """Read a JSON file; MissingFile or a UserError with the place of the fault."""
    try:
        with open(fpath, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise MissingFile(f"expected a JSON file at {fpath}, found none") from None
    except ValueError as error:
        raise UserError(f"{fpath} is not valid JSON: {error}") from None


def write_json(obj, fpath):
    """Write `obj` as indented JSON, atomically."""
    with atomic_path(fpath) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(obj, file, indent=4, separators=(",", ": "))
