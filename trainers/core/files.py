"""Files that processes share: digests, a lock, and what to do where the disk refuses."""

import errno
import hashlib
import os
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError

BLOCK = 1 << 20  # bytes read at a time


def sha256_of(path):
    """sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def digest_of(path):
    """sha256 of a file; where there is a file `path`.sha256, as `sha256sum` writes it, it must say the same.

    Raises UserError where it does not, or where the file cannot be read.
    """
    beside = f"{path}.sha256"
    try:
        found = sha256_of(path)
        expected = Path(beside).read_text(errors="replace").partition(" ")[0].strip() if has_digest(path) else found
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if found != expected:
        raise UserError(
            f"{path} is damaged: its sha256 is {found}, but {beside} says {expected[:64]!r}. Get the file again, or "
            f"delete {beside} if the file is another one on purpose"
        )
    return found


def has_digest(path):
    """Whether a file beside `path` vouches for it."""
    return os.path.isfile(f"{path}.sha256")


@contextmanager
def writing(path):
    """Within it, a disk that refuses (full, read-only, a file where a folder should be) gives a UserError about
    `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. Make room or choose another folder, and start again: "
            "what is finished is kept"
        ) from None


def put(made, path):
    """Moves the finished file `made` to `path`; a digest beside the file that was there goes. Raises UserError."""
    with writing(path):
        with suppress(FileNotFoundError):
            os.remove(f"{path}.sha256")
        os.replace(made, path)


@contextmanager
def one_at_a_time(path, waiting):
    """Holds the lock file `path`; prints `waiting` first where another process has it.

    The system frees the lock of a process that died, and its forked children do not inherit it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with writing(path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        file = _locked(path, fcntl, waiting)
    try:
        yield
    finally:
        with suppress(OSError):  # the folder may be gone with all that is in it
            os.remove(path)  # while it is still held: see _locked
        file.close()


def _locked(path, fcntl, waiting):
    """The open lock file. One that its holder removed while we waited no longer keeps anybody out: take a new one."""
    while True:
        file = open(path, "w")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(waiting, flush=True)
            fcntl.lockf(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            return file  # a file system without locks: work may be done twice
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()
