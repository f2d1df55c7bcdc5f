"""Getting a file from the first of several sources that gives it: HTTP, or Google Drive through gdown."""

import hashlib
import os

from dassl.utils import UserError, brief

from trainers.core.download import download
from trainers.core.files import file_digest

DRIVE = "gdrive:"  # followed by the id of a file on Google Drive


def fetch(urls, target, check):
    """Downloads `target` from the first of `urls` that gives a file which `check(path)` accepts (it raises UserError).

    A download that was cut goes on where it stopped, also in a later run. Raises UserError with the reason of each
    source.
    """
    os.makedirs(os.path.dirname(target), exist_ok=True)
    reasons = []
    for number, url in enumerate(urls):
        own = f"{target}.{number}"  # what one source left unfinished is no beginning of another's file
        print(f"Downloading {os.path.basename(target)} from {url}")
        try:
            if url.startswith(DRIVE):
                _from_drive(url.removeprefix(DRIVE), own)
            else:
                download(url, own)
            check(own)
            os.replace(own, target)
            return
        except UserError as error:
            if os.path.exists(own):  # whole, and refused by `check`
                os.remove(own)
            reasons.append(f"{url}: {error}")
            print(f"  {error}")
    raise UserError(f"{os.path.basename(target)} could not be downloaded.\n  " + "\n  ".join(reasons))


def check_md5(path, md5):
    """Raises UserError if the file has another MD5 sum."""
    found = file_digest(path, hashlib.md5(usedforsecurity=False))
    if found != md5:
        raise UserError(f"the file has the MD5 sum {found}, not {md5}: it is damaged or another one")


def _from_drive(drive_id, path):
    import gdown

    try:
        gdown.download(id=drive_id, output=path, resume=True)
    except Exception as error:  # gdown raises requests' errors, its own, and plain OSError
        raise UserError(f"Google Drive did not give it: {brief(error)}") from None
    if not os.path.exists(path):
        raise UserError("Google Drive did not give it (often a quota: try again in a day)")
