"""Downloading a file: what was cut goes on where it stopped, and the file appears whole or not at all."""

import http.client
import os
import shutil
import time
import urllib.request

from tqdm import tqdm

from .files import UserError, sha256_of

TIMEOUT = 60  # seconds without an answer
PAUSES = (1, 2, 4, 8, 0)  # seconds after each try
AGAIN = (None, 408, 416, 425, 429, 500, 502, 503, 504)  # states of HTTP after which it is worth to ask again


def download(url, path, sha256=""):
    """Downloads `url` to `path`; where its `sha256` is known, a file with another one is removed. A later call goes on
    with the `path`.part that an earlier one left. Raises UserError with the reason in a sentence."""
    part = f"{path}.part"
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    for pause in PAUSES:
        try:
            _append(url, part)
            break
        except (OSError, http.client.HTTPException) as error:
            status = getattr(error, "code", None)
            if status == 416:  # the part is no beginning of what the server has
                os.remove(part)
            if not pause or status not in AGAIN:
                kept = f". {_size(part)} bytes are kept in {part}; the same command goes on" if _size(part) else ""
                raise UserError(f"cannot download {url}: {error}{kept}") from None
        time.sleep(pause)
    digest = sha256_of(part) if sha256 else ""
    if digest != sha256:
        os.remove(part)
        raise UserError(f"{url}: the file has the sha256 {digest}, expected {sha256}; it was removed")
    os.replace(part, path)


def _append(url, part):
    """One request: the rest of the file if the server can send that, else all of it."""
    have = _size(part)
    headers = {"User-Agent": "Mozilla/5.0"} | ({"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        have = have if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        shown = {"total": total, "initial": have, "desc": os.path.basename(url)[:40], "disable": None}
        with open(part, "ab" if have else "wb") as file, tqdm.wrapattr(file, "write", **shown) as counted:
            shutil.copyfileobj(answer, counted)
    if total is not None and _size(part) < total:
        raise ConnectionError(f"the connection ended after {_size(part)} of {total} bytes")


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0
