"""Downloading: HTTP with resume, Google Drive through gdown, several sources in turn, checked before use."""

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request

from dassl.utils import UserError

from .unpack import disk_full

TIMEOUT = 60  # seconds without an answer
TRIES = 5  # in a row without a new byte
PAUSE = 2.0  # seconds before the first repetition; doubled each time
BLOCK = 1 << 20
DRIVE = "gdrive:"  # followed by the id of a file on Google Drive
RETRY_STATUS = (408, 425, 429, 500, 502, 503, 504)


class DownloadError(UserError):
    """A source that did not give the file; the message says why."""


def fetch(urls, target, check):
    """Downloads `target` from the first of `urls` that gives a file which `check(path)` accepts (it raises UserError).

    A download that was cut goes on where it stopped, also in a later run. Raises DownloadError with the reason of each
    source.
    """
    os.makedirs(os.path.dirname(target), exist_ok=True)
    reasons = []
    for url in urls:
        part = f"{target}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part"
        print(f"Downloading {os.path.basename(target)} from {url}")
        try:
            (_from_drive if url.startswith(DRIVE) else _from_http)(url, part)
            refuse_web_page(part)
            check(part)
            os.replace(part, target)
            _remove(f"{part}.tag")
            return
        except DownloadError as error:
            reasons.append(f"{url}: {error}")
            print(f"  {error}")
    raise DownloadError(f"{os.path.basename(target)} could not be downloaded.\n  " + "\n  ".join(reasons))


def check_md5(path, md5):
    """Raises DownloadError and removes the file if it has another MD5 sum."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() != md5:
        refuse(
            path,
            f"the file has the MD5 sum {digest.hexdigest()}, not {md5}: it is damaged or another one, and was removed",
        )


def refuse_web_page(path):
    """Raises DownloadError for a page of HTML, which some servers send instead of a file they do not give."""
    with open(path, "rb") as file:
        start = file.read(200).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        refuse(path, "a web page came instead of the file (gone, a quota, or a licence to accept)")


def refuse(path, reason):
    """Removes a download that must not be used, and raises DownloadError."""
    _remove(path, f"{path}.tag")
    raise DownloadError(reason)


def _from_http(url, part):
    tries = 0
    while True:
        before = _size(part)
        try:
            return _read_http(url, part)
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code == 416:  # the part is no beginning of what the server has
                _remove(part, f"{part}.tag")
            elif error.code not in RETRY_STATUS:
                raise DownloadError(reason) from None
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise disk_full(os.path.dirname(part)) from None
            reason = f"{getattr(error, 'reason', None) or error or type(error).__name__}"
        except ValueError as error:
            raise DownloadError(str(error)) from None
        tries = 0 if _size(part) > before else tries + 1
        if tries >= TRIES:
            raise DownloadError(
                f"{reason} (gave up after {TRIES} tries; the next run goes on from {_size(part)} bytes)"
            )
        print(f"  {reason}; trying again from {_size(part)} bytes")
        time.sleep(PAUSE * 2**tries)


def _read_http(url, part):
    """One request: the rest of the file if the server can, else all of it."""
    from tqdm import tqdm

    done, headers = _size(part), {"User-Agent": "Mozilla/5.0 (dataset preparation)"}
    tag = _read_tag(part)
    if done:
        headers["Range"] = f"bytes={done}-"
        if tag:
            headers["If-Range"] = tag  # all of it, if the file has changed
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        if not (done and answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {done}-")):
            done = 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        if total and total - done > shutil.disk_usage(os.path.dirname(part)).free:
            raise disk_full(os.path.dirname(part), total - done)
        _write_tag(part, answer.headers)
        bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=os.path.basename(url)[:40], disable=None)
        with bar, open(part, "ab" if done else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    if total is not None and _size(part) < total:
        raise ConnectionError(f"the connection was cut at {_size(part)} of {total} bytes")


def _read_tag(part):
    """What identifies the version of the file that a part began with."""
    with contextlib.suppress(OSError), open(f"{part}.tag", encoding="latin-1") as file:
        return file.read()
    return ""


def _write_tag(part, headers):
    tag = headers.get("ETag", "")
    tag = headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    with open(f"{part}.tag", "w", encoding="latin-1") as file:
        file.write(tag)


def _from_drive(url, part):
    import gdown

    try:
        found = gdown.download(id=url.removeprefix(DRIVE), output=part, resume=True)
    except Exception as error:  # gdown raises requests' errors, its own, and plain OSError
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise disk_full(os.path.dirname(part)) from None
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DownloadError(f"Google Drive did not give it: {lines[0]}") from None
    if not found or not os.path.exists(part):
        raise DownloadError("Google Drive did not give it (often a quota: try again in a day)")


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def _remove(*paths):
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
