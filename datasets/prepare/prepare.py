"""Preparing a dataset: download, unpack, put in place, check."""

import os
import shutil
from pathlib import Path

from dassl.utils import UserError, read_json

from trainers.core.files import locked

from ..core.files import require_writable
from ..core.splits import read_split, split_hash
from .check import check, full_path, reader_name
from .download import check_md5, fetch
from .sources import SOURCES
from .unpack import BadArchive, is_archive, unpack

WORK = ".prepare"  # below the root, on the disk that the data go to


def prepare(name, root, keep_archives=False):
    """Puts in place whatever of dataset `name` is missing below `root`, then checks it; True if it is complete.

    Safe to repeat and to run twice at once: every download and archive has a lock, and a folder appears under its name
    only when it is whole. Raises UserError with what failed and what to do by hand.
    """
    source = SOURCES.get(reader_name(name))
    if not source:
        check_it = f"python scripts/data.py check ImageFolder --root {root}"
        raise UserError(f"ImageFolder reads a folder of your own: there is nothing to prepare. To check it: {check_it}")
    root = full_path(root)
    os.makedirs(root, exist_ok=True)
    if not source.missing(root):
        print(f"{source.reader}: everything is in place, nothing to do")
    reasons = []
    for resource in source.downloads():
        try:
            install(resource, root, source, keep_archives)
        except (UserError, OSError) as error:
            reasons.append(str(error))
    missing = source.missing(root)
    if missing:
        head = f"{source.reader} is not complete; missing: {', '.join(missing)}"
        steps = [f"By hand (ROOT is {root}):", source.manual.rstrip()] if source.manual else []
        raise UserError("\n".join([head, *reasons, *steps]))
    return check(source.reader, root)


def install(resource, root, source, keep_archives=False):
    """Puts what `resource` gives below `root`, unless all of it is there. Raises UserError and leaves no half of a
    place.
    """

    def wanted():
        return [(place, end) for place, end in resource.gives.items() if not os.path.exists(os.path.join(root, place))]

    if not wanted():
        return
    file = os.path.join(root, WORK, resource.name)
    require_writable(root)
    with locked(f"{file}.lock", f"another process is getting {resource.name}; waiting for it"):
        if not wanted():  # another process was faster
            return
        if not os.path.exists(file):
            fetch(resource.urls, file, lambda path: check_download(path, resource, source))
        if "" in resource.gives.values():
            place_whole(file, os.path.join(root, *resource.gives))
            return
        staging = f"{file}.unpacked"
        shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed
        try:
            top = unpack_into(staging, file, resource)
            for place, end in wanted():
                place_whole(find(top, end, resource.name), os.path.join(root, place))
        except BadArchive:
            os.remove(file)  # so that the next run fetches it anew
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if not keep_archives:
            os.remove(file)


def unpack_into(staging, file, resource):
    """Unpacks the archive `file`, and the one inside it that `resource` may name. -> the folder of what is wanted"""
    print(f"Unpacking {resource.name}")
    unpack(file, staging)
    if not resource.inner:
        return staging
    inner = os.path.join(staging, "inner")
    unpack(find(staging, resource.inner, resource.name), inner)
    return inner


def find(folder, end, archive):
    """The entry below `folder` whose path ends in `end`, nearest to the top. Raises BadArchive."""
    found = sorted(Path(folder).rglob(end), key=lambda path: (len(path.parts), path))
    if not found:
        raise BadArchive(f"{archive} does not hold {end}: it is another archive than expected")
    return str(found[0])


def check_download(path, resource, source):
    """Raises UserError unless the file is what `resource` promises."""
    if resource.md5:
        check_md5(path, resource.md5)
    if resource.name.startswith("split_"):
        split = read_split(path)
        sizes = [*map(len, split)]
        if resource.split_hash not in ("", split_hash(split)) or sizes != source.sizes:
            raise UserError(f"it is another split than CoOp's: {sizes} images, hash {split_hash(split)}")
    elif resource.name.endswith(".json"):
        read_json(path)
    elif "" not in resource.gives.values() and not is_archive(path):
        raise UserError("it is no archive, perhaps a web page that says why (gone, a quota, or a licence to accept)")


def place_whole(path, target):
    """Moves a file or folder to `target`, which appears whole, also on another disk."""
    part = f"{target}.part"
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    shutil.move(path, part)
    os.rename(part, target)
