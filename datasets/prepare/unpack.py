"""Unpacking archives from strangers: only plain files and folders, only below the target, only so much of them."""

import errno
import os
import stat
import tarfile
import zipfile
import zlib

from dassl.utils import UserError

from ..core.splits import is_inside

MAX_ENTRIES = 3_000_000  # ImageNet has 1.3 million images
MAX_RATIO = 20  # bytes unpacked for each byte of the archive; images hardly compress, text about fivefold
FREE_BYTES = 200_000_000  # allowed on top, for small archives of text
MAX_DEPTH = 30
MAX_HEADER = 100_000  # bytes of a tar header that precedes an entry (long names)
BLOCK = 1 << 20


class BadArchive(UserError):
    """An archive that is damaged or not to be trusted."""


def unpack(archive, folder):
    """Unpacks the tar (also compressed) or zip file `archive` into the new folder `folder`.

    Raises BadArchive for anything but plain files and folders inside `folder`, for an archive that unpacks to far more
    than its size, and for a damaged one; UserError for a full disk. What was written by then is the caller's to remove.
    """
    os.makedirs(folder)
    limit = FREE_BYTES + MAX_RATIO * os.path.getsize(archive)
    try:
        entries = _open(archive)
        for count, (name, is_folder, read) in enumerate(entries):
            if count >= MAX_ENTRIES:
                raise BadArchive(f"{archive} has more than {MAX_ENTRIES} entries")
            if not is_inside(name) or name.count("/") >= MAX_DEPTH:
                raise BadArchive(
                    f"{archive} is refused: its entry {name!r:.100} leaves the folder it is unpacked to, "
                    "or is no proper name"
                )
            target = os.path.join(folder, name)
            if is_folder:
                os.makedirs(target, exist_ok=True)
            else:
                limit = _write(read, target, limit, archive)
    except UserError:
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise disk_full(folder) from None
        raise BadArchive(f"{archive} cannot be unpacked: {error}") from None
    except Exception as error:  # tarfile, zipfile, zlib, lzma and struct raise their own types on damaged archives
        raise BadArchive(f"{archive} is damaged: {type(error).__name__} {error}") from None


def disk_full(folder, needed=0):
    """The error to raise when a disk is, or would become, full."""
    what = f"needs {needed / 1e9:.2f} GB more" if needed else "is full"
    return UserError(f"the disk that holds {folder} {what}; free some space and run the same command again")


def _open(archive):
    """(name, is folder, function that opens it) of each entry, after the check that it is a plain file or folder."""
    with open(archive, "rb") as file:
        start = file.read(4)
    if start in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip_entries(archive)
    return _tar_entries(archive, "r:gz" if start[:2] == b"\x1f\x8b" else "r:bz2" if start[:3] == b"BZh" else "r:")


class _PlainTarInfo(tarfile.TarInfo):
    """Refuses what tarfile would read into memory at any size: sparse maps, and long headers that precede an entry."""

    def _proc_member(self, tar):
        if self.type == tarfile.GNUTYPE_SPARSE or (not self.isreg() and not self.isdir() and self.size > MAX_HEADER):
            self._refuse()
        return super()._proc_member(tar)

    def _refuse(self, *_):
        raise BadArchive(
            f"the archive is refused: its entry {self.name!r:.100} is a sparse file or has an oversized header"
        )

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse


def _tar_entries(archive, mode):
    try:
        tar = tarfile.open(archive, mode, tarinfo=_PlainTarInfo)
    except (tarfile.ReadError, EOFError, OSError, zlib.error):
        raise BadArchive(f"{archive} is neither a tar nor a zip file, or is damaged from its start") from None
    with tar:
        for member in tar:
            if not (member.isreg() or member.isdir()):
                raise BadArchive(f"{archive} is refused: its entry {member.name!r:.100} is a link or a device")
            name = _plain(member.name)
            if name:
                yield name, member.isdir(), lambda member=member: tar.extractfile(member)


def _zip_entries(archive):
    with zipfile.ZipFile(archive) as pack:
        for info in pack.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise BadArchive(f"{archive} is refused: its entry {info.filename!r:.100} is a link or a device")
            if info.flag_bits & 1:
                raise BadArchive(f"{archive} is encrypted")
            name = _plain(info.filename)
            if name:
                yield name, info.is_dir(), lambda info=info: pack.open(info)


def _plain(name):
    """An entry's name without './' in front and '/' behind; '' for the top folder."""
    while name.startswith("./"):
        name = name[2:]
    return "" if name == "." else name.removesuffix("/")


def _write(read, target, limit, archive):
    """Writes one file; returns what is left of `limit`. An entry that occurs twice is an error."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with read() as source, open(target, "xb") as file:
        while block := source.read(BLOCK):
            limit -= len(block)
            if limit < 0:
                raise BadArchive(f"{archive} is refused: it unpacks to more than {MAX_RATIO} times its size")
            file.write(block)
    return limit
