"""Listings in an order that no file system changes, and small file formats, with errors that name the file."""

import contextlib
import errno
import os

from dassl.utils import UserError

from trainers.core.files import read_names
from trainers.core.folders import entries

UNFIT = (AttributeError, IndexError, KeyError, TypeError, ValueError)  # of content in another form than expected


def require_writable(folder):
    """Raises PermissionError for a folder without write permission, and for one marked read-only when root, who may, is
    running.
    """
    if not os.access(folder, os.W_OK) or not os.stat(folder).st_mode & 0o222:
        raise PermissionError(errno.EACCES, "the folder is read-only", folder)


def list_folders(folder):
    """Sorted names of the folders in `folder` that are not hidden. Raises UserError."""
    return [entry.name for entry in entries(folder) if entry.is_dir() and not entry.name.startswith(".")]


def missing_files(image_dir, paths):
    """Those of the relative `paths` that are no file below image_dir. Lists each folder once, asks for no file."""
    wanted = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        wanted.setdefault(folder, []).append(name)
    missing = []
    for folder, names in wanted.items():
        try:
            present = set(os.listdir(os.path.join(image_dir, folder)))
        except OSError:
            present = set()
        missing += [f"{folder}/{name}".lstrip("/") for name in names if name not in present]
    return missing


def read_lines(path):
    """Lines of one of a data set's own lists, as all lists of names are read. Raises UserError."""
    return read_names(path, "the list")


def parse_lines(path, parse, expected):
    """`parse(line)` of each line. Raises UserError for a line that does not have the `expected` form."""
    rows = []
    for line in read_lines(path):
        try:
            rows.append(parse(line))
        except UNFIT:
            raise UserError(f"{path}: expected {expected}, found {line!r:.80}") from None
    return rows


def read_mat(path, variables=None):
    """Variables of a MATLAB file (all, or those named) as a dict of arrays. Raises UserError."""
    from scipy.io import loadmat

    try:
        return loadmat(path, variable_names=variables)
    except Exception as error:  # scipy raises a dozen unrelated types on damaged files
        raise UserError(f"cannot read {path} as a MATLAB file: {error}") from None


@contextlib.contextmanager
def explained(fault):
    """Within it, content in another form than expected raises UserError with `fault`, which names the files."""
    try:
        yield
    except UNFIT as error:
        raise UserError(f"{fault}: {error!r}") from None
