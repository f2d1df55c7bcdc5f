"""Listings in an order that no file system changes, and small file formats, with errors that name the file."""

import errno
import os

from dassl.utils import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def require_writable(folder):
    """Raises PermissionError for a folder without write permission, and for one marked read-only when root, who may, is
    running.
    """
    if not os.access(folder, os.W_OK) or not os.stat(folder).st_mode & 0o222:
        raise PermissionError(errno.EACCES, "the folder is read-only", folder)


def list_folders(folder):
    """Sorted names of the folders in `folder` that are not hidden. Raises UserError."""
    return sorted(entry.name for entry in _entries(folder) if entry.is_dir())


def list_images(folder):
    """Sorted names of the image files in `folder` itself. Raises UserError."""
    return sorted(entry.name for entry in _entries(folder) if entry.name.lower().endswith(IMAGE_SUFFIXES))


def _entries(folder):
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"cannot list the folder {folder}: {error.strerror}") from None


def read_lines(path):
    """Non-empty lines of a text file, stripped. Raises UserError."""
    try:
        with open(path, encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from None


def read_mat(path, variables=None):
    """Variables of a MATLAB file (all, or those named) as a dict of arrays. Raises UserError."""
    from scipy.io import loadmat

    try:
        return loadmat(path, variable_names=variables)
    except Exception as error:  # scipy raises a dozen unrelated types on damaged files
        raise UserError(f"cannot read {path} as a MATLAB file: {error}") from None
