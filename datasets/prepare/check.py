"""What of a dataset is in place, without loading any image."""

import os

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError, nearest

from ..core.splits import split_hash
from .sources import SOURCES


def reader_name(name):
    """The reader's name for a name as people type it: 'caltech101' and 'Caltech101' are one. Raises UserError."""
    known = {key.lower(): reader for reader, source in SOURCES.items() for key in (reader, source.config)}
    known["imagefolder"] = "ImageFolder"
    if name.lower() not in known:
        readers = dict.fromkeys(known.values())
        raise UserError(
            f"no dataset is called {name!r}; the nearest: {', '.join(nearest(name, readers)[:3])}; "
            f"all: {', '.join(readers)}"
        )
    return known[name.lower()]


def full_path(root):
    """Absolute path of a root as people type it."""
    return os.path.abspath(os.path.expanduser(root))


def check(name, root):
    """(complete, lines): what of dataset `name` is below `root`, what is missing, by name and count. Writes nothing."""
    reader, root = reader_name(name), full_path(root)
    source = SOURCES.get(reader)
    absent = source.missing(root) if source else []
    lines = [f"{reader} below {root}"]
    for place in source.places() if source else ():
        lines.append(f"  {'missing' if place in absent else 'there  '}  {place}")
    try:
        split = DATASET_REGISTRY.get(reader).examine(root)
    except UserError as error:
        return False, [*lines, *(f"  {line}" for line in str(error).splitlines())]
    sizes = tuple(map(len, split))
    classes = len({item.label for item in split.items()})
    lines.append(f"  {_counts(sizes, classes)}; split {split_hash(split)}")
    faults = []
    if source and (sizes, classes) != (source.sizes, source.classes):
        faults.append(
            f"  expected {_counts(source.sizes, source.classes)}: "
            "this copy is reduced, or split in another way, and its figures do not compare with published ones"
        )
    known = next((item.split_hash for item in source.resources if item.split_hash), "") if source else ""
    if known and split_hash(split) != known:
        faults.append(f"  the split is not CoOp's ({known})")
    complete = not absent and not faults
    return complete, [*lines, *faults, "  complete" if complete else "  NOT complete"]


def show(name, root):
    """Prints what `check` finds; True if the dataset is complete."""
    complete, lines = check(name, root)
    print("\n".join(lines))
    return complete


def _counts(sizes, classes):
    return f"{sizes[0]} train, {sizes[1]} val, {sizes[2]} test images of {classes} classes"
