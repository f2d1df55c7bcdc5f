"""Listings in an order that no file system changes, and small file formats, with errors that name the file."""

import contextlib
import errno
import os
from functools import cache

from dassl.utils import UserError

from trainers.core.files import read_names
from trainers.core.folders import entries


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

    @cache
    def names_in(folder):
        try:
            return {*os.listdir(os.path.join(image_dir, folder))}
        except OSError:
            return set()

    return [path for path in paths if os.path.basename(path) not in names_in(os.path.dirname(path))]


def read_lines(path):
    """Lines of one of a data set's own lists, as all lists of names are read. Raises UserError."""
    return read_names(path, "the list")


def parse_lines(path, parse, expected):
    """`parse(line)` of each line. Raises UserError for a line that does not have the `expected` form."""
    rows = []
    for line in read_lines(path):
        with explained(f"{path}: expected {expected}, found {line!r:.80}"):
            rows.append(parse(line))
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
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{fault}: {error!r}") from None
