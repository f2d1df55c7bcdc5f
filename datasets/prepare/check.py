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
    print(f"{reader} below {root}")
    source = SOURCES.get(reader)  # none of a folder of one's own
    missing = source.missing(root) if source else []
    for place in source.places() if source else []:
        print(f"  {'missing' if place in missing else 'there  '}  {place}")
    try:
        split = DATASET_REGISTRY.get(reader).examine(root)
    except UserError as error:
        print(f"  {error}")
        return False
    found = [*map(len, split)], len({item.label for item in split.items()})
    print(f"  {_counts(*found)}; split {split_hash(split)}")
    known = {item.split_hash for item in source.resources} - {""} if source else set()
    is_reduced = source is not None and found != (source.sizes, source.classes)
    is_foreign = bool(known) and split_hash(split) not in known
    if is_reduced:
        print(f"  expected {_counts(source.sizes, source.classes)}: figures do not compare with published ones")
    if is_foreign:
        print(f"  the split is not CoOp's ({', '.join(known)})")
    complete = not (missing or is_reduced or is_foreign)
    print("  complete" if complete else "  NOT complete")
    return complete


def _counts(sizes, classes):
    train, val, test = sizes
    return f"{train} train, {val} val, {test} test images of {classes} classes"
