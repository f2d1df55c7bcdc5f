"""Hashes of image files by their bytes: what decides whether two images are the same. Nothing here needs PyTorch.

A file is read once; then its hash is kept beside its size and the times of its last change, as the system reports them.
"""

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from .files import file_digest

NAME = "contents.sqlite"  # in FEATURES.DIR
TABLE = "CREATE TABLE IF NOT EXISTS contents (path TEXT PRIMARY KEY, state TEXT, hash TEXT)"
WAIT = 60.0  # seconds for other processes that write


def content_hashes(paths: Sequence[str], folder: str | Path) -> list[str]:
    """32 hex digits for the content of each file, "" for one that cannot be read. `folder` keeps what was read; where
    it cannot be written to, the files are read again next time."""
    files = [os.fsencode(os.path.abspath(path)) for path in paths]  # bytes: a name need not be text
    states = [_state(path) for path in files]
    known = _known(Path(folder) / NAME, files)
    read = {}
    for path, state in zip(files, states, strict=True):
        if state and known.get(path, ("", ""))[0] != state:
            read[path] = (state, _hash(path))
    if read:
        _keep(Path(folder) / NAME, read)
    known |= read
    return [known[path][1] if state else "" for path, state in zip(files, states, strict=True)]


def _state(path):
    try:
        status = os.stat(path)
    except OSError:
        return ""  # the reader of the image says what is wrong with it
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _hash(path):
    try:
        return file_digest(path, hashlib.blake2b(digest_size=16))
    except OSError:
        return ""


def _known(store, paths):
    """{path: (state, hash)} of those `paths` that were read before."""
    if not store.is_file():
        return {}
    try:
        with closing(sqlite3.connect(store, timeout=WAIT)) as base:
            rows = [base.execute("SELECT * FROM contents WHERE path = ?", (path,)).fetchone() for path in paths]
    except sqlite3.Error:
        return {}
    return {row[0]: row[1:] for row in rows if row}


def _keep(store, read):
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(store, timeout=WAIT)) as base, base:
            base.execute(TABLE)
            rows = [(path, *value) for path, value in read.items()]
            base.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", rows)
    except (OSError, sqlite3.Error) as error:
        print(f"{store} cannot be written to ({error}): the files are read again next time")
