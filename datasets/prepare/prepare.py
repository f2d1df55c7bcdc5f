"""Preparing a dataset: download, unpack, put in place, check."""

import hashlib
import shutil
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError, brief

from trainers.core.download import download
from trainers.core.files import file_digest, locked

from ..core.splits import read_split, split_hash

WORK = ".prepare"  # below the root, on the disk that the data go to
DRIVE = "https://drive.google.com/"


def prepare(source, root):
    """Puts in place whatever of a dataset is missing below `root`, then checks it; True if it is complete.

    Safe to repeat and to run twice at once; a folder appears under its name only when it is whole. Raises UserError
    with what failed and what to do by hand.
    """
    root = Path(root).expanduser().resolve()
    reasons = []
    with locked(root / WORK / "lock", f"another process prepares data below {root}; waiting for it"):
        for resource in source.resources:
            try:
                install(resource, root)
            except (UserError, OSError) as error:
                reasons.append(str(error))
    missing = source.missing(root)
    if missing:
        head = f"{source.reader} is not complete; missing: {', '.join(missing)}"
        steps = [f"By hand (ROOT is {root}):", source.manual.rstrip()] if source.manual else []
        raise UserError("\n".join([head, *reasons, *steps]))
    return check(source, root)


def install(resource, root):
    """Puts what `resource` gives below `root`, unless all of it is there. Raises UserError."""
    wanted = {place: end for place, end in resource.gives.items() if not (root / place).exists()}
    if not wanted:
        return
    file = root / WORK / resource.name
    if not file.exists():
        fetch(resource, file)
    with TemporaryDirectory(dir=file.parent) as folder:
        if any(wanted.values()):
            unpack(resource, file, folder)
        for place, end in wanted.items():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(find(folder, end, file) if end else file, root / place)
    file.unlink(missing_ok=True)


def fetch(resource, file):
    """Downloads `file` from the first address of the resource that gives what it promises.

    A download that was cut goes on where it stopped, also in a later run. Raises UserError with the reason of each
    address.
    """
    reasons = [f"{resource.name} could not be downloaded."]
    for number, url in enumerate(resource.urls):
        part = Path(f"{file}.{number}")  # what one address left unfinished is no beginning of another's file
        print(f"Downloading {resource.name} from {url}")
        try:
            if url.startswith(DRIVE):
                download_from_drive(url, part)
            else:
                download(url, part)
            check_download(part, resource)
            part.rename(file)
            return
        except (UserError, OSError) as error:  # OSError: nothing came, and nobody said why
            part.unlink(missing_ok=True)
            reasons.append(f"{url}: {error}")
    raise UserError("\n  ".join(reasons))


def download_from_drive(url, path):
    import gdown

    try:
        gdown.download(url, str(path), resume=True)
    except Exception as error:  # gdown raises requests' errors, its own, and plain OSError
        raise UserError(f"Google Drive did not give it (often a quota: try again in a day): {brief(error)}") from None


def check_download(path, resource):
    """Raises UserError unless the file is what `resource` promises."""
    if resource.md5 and file_digest(path, hashlib.md5(usedforsecurity=False)) != resource.md5:
        raise UserError(f"its MD5 sum is not {resource.md5}: it is damaged or another one")
    if resource.split_hash and split_hash(read_split(path)) != resource.split_hash:
        raise UserError("it is another split than CoOp's")
    if all(resource.gives.values()) and not (tarfile.is_tarfile(path) or zipfile.is_zipfile(path)):
        raise UserError("it is no archive, perhaps a web page that says why (gone, a quota, or a licence to accept)")


def unpack(resource, archive, folder):
    """Unpacks the archive of `resource`, and the one inside it that it may name, into `folder`. Raises UserError."""
    print(f"Unpacking {resource.name}")
    try:
        extract(archive, folder)
        if resource.inner:
            extract(find(folder, resource.inner, archive), folder)
    except Exception as error:  # of damaged archives tarfile, zipfile, zlib and lzma raise types of their own
        raise UserError(f"{archive} cannot be unpacked; if it is damaged, delete it: {brief(error)}") from None


def extract(archive, folder):
    """Unpacks a tar (also compressed) or zip file, of which nothing leaves the folder: tarfile's filter "data" refuses
    names and links that lead out, and zipfile makes none."""
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as pack:
            pack.extractall(folder, filter="data")
    else:
        with zipfile.ZipFile(archive) as pack:
            pack.extractall(folder)


def find(folder, end, archive):
    """The entry below `folder` whose path ends in `end`, nearest to the top. Raises UserError."""
    found = sorted(Path(folder).rglob(end), key=lambda path: (len(path.parts), path))
    if not found:
        raise UserError(f"{archive} does not hold {end}: delete it, if it is another archive than expected")
    return found[0]


def check(source, root):
    """Prints what of a dataset is below `root`, and what is missing, by name and count; True if it is complete."""
    root = Path(root).expanduser().resolve()
    missing = source.missing(root)
    print(f"{source.reader} below {root}")
    for place in source.places():
        print(f"  {'missing' if place in missing else 'there  '}  {place}")
    try:
        split = DATASET_REGISTRY.get(source.reader).examine(root)
    except UserError as error:
        print(f"  {error}")
        return False
    found = [*map(len, split)], len({item.label for item in split.items()}), split_hash(split)
    known = next((item.split_hash for item in source.resources if item.split_hash), split_hash(split))
    expected = source.sizes, source.classes, known
    complete = not missing and found == expected
    print("  {} images in train, val and test, {} classes, split {}".format(*found))
    print("  complete" if complete else "  NOT complete: published figures are of {}, {}, {}".format(*expected))
    return complete
