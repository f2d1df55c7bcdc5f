"""Unpacking archives from strangers: nothing leaves the folder that they are unpacked to."""

import platform
import tarfile
import zipfile

from dassl.utils import UserError, brief


class BadArchive(UserError):
    """An archive that is damaged or not to be trusted."""


def is_archive(path):
    """Whether `path` is a tar (also compressed) or zip file."""
    return tarfile.is_tarfile(path) or zipfile.is_zipfile(path)


def unpack(archive, folder):
    """Unpacks a tar (also compressed) or zip file into `folder`.

    tarfile's filter "data" refuses devices, and links and names that lead out of the folder; zipfile never leaves it.
    Raises BadArchive, or OSError where the disk refuses; what was written by then is the caller's to remove.
    """
    if not hasattr(tarfile, "data_filter"):
        needed = f"needs Python 3.10.12, 3.11.4 or newer, and this is {platform.python_version()}"
        raise UserError(f"unpacking safely {needed}: use a newer Python, or unpack {archive} by hand")
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as pack:
                pack.extractall(folder, filter="data")
                while pack.fileobj.read(1 << 20):  # gzip's checksum stands at the end, behind the last entry
                    pass
        else:
            with zipfile.ZipFile(archive) as pack:
                pack.extractall(folder)
    except Exception as error:  # tarfile, zipfile, zlib, lzma and struct raise their own types on damaged archives
        if getattr(error, "errno", None):  # the disk's fault, not the archive's
            raise
        raise BadArchive(f"{archive} is damaged or not to be trusted: {brief(error)}") from None
