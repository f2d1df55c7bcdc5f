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
    exists = os.path.isfile(fpath)
    if not exists:
        warnings.warn(f"no file at {fpath}", stacklevel=2)
    return exists


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


def check_regular(fpath, what):
    """MissingFile or UserError unless `fpath`, which should be `what`, is a file."""
    if not os.path.exists(fpath):
        raise MissingFile(f"expected {what} at {fpath}, found none")
    if not os.path.isfile(fpath):
        raise UserError(f"expected {what} at {fpath}, found {'a folder' if os.path.isdir(fpath) else 'no file'}")


def read_text(fpath, what):
    """The text of a UTF-8 file that should be `what`; MissingFile or UserError with the path and the reason."""
    check_regular(fpath, what)
    try:
        with open(fpath, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{fpath} cannot be read as {what}: {error}") from None


def read_json(fpath):
    """Read a JSON file; MissingFile or a UserError with the place of the fault."""
    text = read_text(fpath, "a JSON file")
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{fpath} is not valid JSON: {error}") from None


def write_json(obj, fpath):
    """Write `obj` as indented JSON, atomically."""
    with atomic_path(fpath) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(obj, file, indent=4, separators=(",", ": "))
