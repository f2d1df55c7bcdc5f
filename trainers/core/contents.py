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
    """32 hex digits for the content of each file, "" for one that is not there. `folder` keeps what was read."""
    files = [os.fsencode(os.path.abspath(path)) for path in paths]  # bytes: a name need not be text
    states = {path: _state(path) for path in files if os.path.isfile(path)}
    os.makedirs(folder, exist_ok=True)
    with closing(sqlite3.connect(Path(folder) / NAME, timeout=WAIT)) as base:
        base.execute(TABLE)
        hashes, read = {}, []
        for path, state in states.items():
            row = base.execute("SELECT hash FROM contents WHERE path = ? AND state = ?", (path, state)).fetchone()
            hashes[path] = row[0] if row else file_digest(path, hashlib.blake2b(digest_size=16))
            if row is None:
                read.append((path, state, hashes[path]))
        with base:  # one transaction
            base.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", read)
    return [hashes.get(path, "") for path in files]


def _state(path):
    status = os.stat(path)
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
