"""What of a dataset is in place, without loading any image."""

import os

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError, nearest

from ..core.splits import split_hash
from .sources import SOURCES


def reader_name(name):
    """The reader's name for a name as people type it: 'caltech101' and 'Caltech101' are one. Raises UserError."""
    known = {"imagefolder": "ImageFolder"}
    for reader, source in SOURCES.items():
        known |= {reader.lower(): reader, source.config: reader}
    if name.lower() not in known:
        close = ", ".join(nearest(name, set(known.values()))[:3])
        raise UserError(f"no dataset is called {name!r}; the nearest: {close}; all: python scripts/data.py list")
    return known[name.lower()]


def full_path(root):
    """Absolute path of a root as people type it."""
    return os.path.abspath(os.path.expanduser(root))


def check(name, root):
    """Prints what of dataset `name` is below `root`, and what is missing, by name and count; True if it is complete."""
    reader, root = reader_name(name), full_path(root)
    source = SOURCES.get(reader)
    missing = source.missing(root) if source else []
    print(f"{reader} below {root}")
    for place in source.places() if source else []:
        print(f"  {'missing' if place in missing else 'there  '}  {place}")
    try:
        split = DATASET_REGISTRY.get(reader).examine(root)
    except UserError as error:
        print(f"  {error}")
        return False
    counts = _counts(map(len, split), len({item.label for item in split.items()}))
    print(f"  {counts}; split {split_hash(split)}")
    complete, expected = not missing, _counts(source.sizes, source.classes) if source else counts
    if counts != expected:
        complete = False
        print(
            f"  expected {expected}: a reduced copy or another split, whose figures do not compare with published ones"
        )
    known = {item.split_hash for item in source.resources} - {""} if source else set()
    if known and split_hash(split) not in known:
        complete = False
        print(f"  the split is not CoOp's ({', '.join(known)})")
    print("  complete" if complete else "  NOT complete")
    return complete


def _counts(sizes, classes):
    train, val, test = sizes
    return f"{train} train, {val} val, {test} test images of {classes} classes"
