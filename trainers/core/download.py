"""Downloading a file: what was cut goes on where it stopped, and the file appears whole or not at all."""

import contextlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request

from tqdm import tqdm

from .files import BLOCK, UserError, sha256_of

TIMEOUT = 60  # seconds without an answer
AGAIN = (408, 416, 425, 429, 500, 502, 503, 504)  # states of HTTP after which it is worth to ask again
NETWORK = (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)


def download(url, path, sha256="", tries=5, pause=1.0):
    """Downloads `url` to `path`. A later call goes on with the `path`.part that an earlier one left.

    sha256: of the file, where it is known; a file with another one is removed. tries: in a row without a new byte;
    pause: seconds before the first repetition, doubled each time. Raises UserError with the reason in a sentence.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    part = f"{path}.part"
    _complete(url, part, tries, pause)
    if sha256 and sha256_of(part) != sha256:
        digest = sha256_of(part)
        os.remove(part)
        raise UserError(f"{url}: the file has the sha256 {digest}, expected {sha256}; it was removed")
    os.replace(part, path)


def _complete(url, part, tries, pause):
    """Asks for what is missing of the file `part` until it is whole."""
    failed = 0
    while True:
        before = _size(part)
        try:
            return _append(url, part)
        except (*NETWORK, OSError, ValueError) as error:  # OSError: of the disk; ValueError: the address is none
            status = getattr(error, "code", None)
            reason = f"HTTP {status} {error.reason}" if status else getattr(error, "reason", None) or error
            if status == 416:  # the part is no beginning of what the server has
                os.remove(part)
            failed = 1 if _size(part) > before else failed + 1
            again = status in AGAIN if status else isinstance(error, NETWORK)
            if failed >= tries or not again:
                kept = f". {_size(part)} bytes are kept in {part}; the same command goes on from there"
                raise UserError(f"cannot download {url}: {reason}{kept if _size(part) else ''}") from None
        time.sleep(pause * 2 ** (failed - 1))


def _append(url, part):
    """One request: the rest of the file if the server can send that, else all of it."""
    have = _size(part)
    headers = {"User-Agent": "Mozilla/5.0"} | ({"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        have = have if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=os.path.basename(url)[:40], disable=None)
        with bar, open(part, "ab" if have else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    if total is not None and _size(part) < total:
        raise ConnectionError(f"the connection ended after {_size(part)} of {total} bytes")


def _size(path):
    with contextlib.suppress(FileNotFoundError):
        return os.path.getsize(path)
    return 0
