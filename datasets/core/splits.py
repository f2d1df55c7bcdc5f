"""Splits: which image belongs to train, val or test, under which label and name; and their base and new halves.

On disk a split is CoOp's `split_zhou_*.json`: {"train": [[relative path, label, class name], ...], "val": .., "test":
..}.
"""

import gc
import hashlib
import json
import math
import random
import re
from typing import NamedTuple

from dassl.utils import UserError, read_json

from trainers.core import bank_header

SUBSETS = ("all", "base", "new")
SPLIT_SEED = 0  # of splits made here; fixed, so that every run, seed and machine makes the same one
# A step that is empty, '.' or '..' (so also a '/' in front), or a backslash.
LEAVES = re.compile(r"(^|/)\.{0,2}(/|$)|\\")


class Item(NamedTuple):
    """One image: path relative to the image folder (with '/'), label counted from 0, class name."""

    path: str
    label: int
    classname: str


class Split(NamedTuple):
    """Three lists of Item; each may be empty where a dataset has no such part."""

    train: list
    val: list
    test: list

    def items(self):
        return [item for part in self for item in part]


PARTS = Split._fields


def read_split(path, needs_train=True):
    """Split in the json file at `path`, validated. Raises UserError."""
    return check_split(read_json(path), path, needs_train)


def read_bank_split(path, dataset, needs_train=True):
    """(split, its hash) of the bank at `path`, which must be one of `dataset` (a reader's name). Raises UserError."""
    header = bank_header.read_bank_header(path)
    if header.get("dataset") != dataset:
        raise UserError(f"{path} is a bank of {header.get('dataset')!r}, but DATASET.NAME is {dataset!r}")
    gc.disable()  # it would look through a million new items again and again
    try:
        columns, names = bank_header.read_bank_columns(path, header)
        raw = {
            part: list(map(Item, paths, labels, map(names.__getitem__, labels)))
            for part, (paths, labels) in columns.items()
        }
    finally:
        gc.enable()
    if "split_hash" in header:  # by scripts/extract_features.py, from a split that was checked
        return Split(**raw), header["split_hash"]
    split = check_split(raw, f"the split in {path}", needs_train)
    return split, split_hash(split)


def check_split(raw, source, needs_train=True):
    """Split from decoded json `raw`, or a UserError that names `source` and what is wrong.

    Paths must stay below the image folder and occur once, labels must run from 0 without a gap, each label has one
    name, and (`needs_train`) each label has a training image.
    """

    def fail(fault):
        raise UserError(f"{source} is not a valid split: {fault}")

    if not isinstance(raw, dict) or any(not isinstance(raw.get(part), list) for part in PARTS):
        fail('expected {"train": [...], "val": [...], "test": [...]}')
    names, paths = {}, set()
    for entry in (entry for part in PARTS for entry in raw[part]):
        if not _is_item(entry):
            fail(f"{entry!r:.200} is not [path below the image folder without a backslash, label, printable name]")
        path, label, name = entry
        if path in paths:
            fail(f"{path!r} is listed twice")
        paths.add(path)
        if names.setdefault(label, name) != name:
            fail(f"label {label} has two names, {names[label]!r} and {name!r}")
    if not names or sorted(names) != list(range(len(names))):
        fail("labels must run from 0 without a gap")
    split = Split(*([Item(*entry) for entry in raw[part]] for part in PARTS))
    untrained = names.keys() - {item.label for item in split.train} if needs_train else ()
    if untrained:
        fail(f"{len(untrained)} classes have no training image, first {names[min(untrained)]!r}")
    return split


def _is_item(entry):
    """Whether it has the types of an Item, a path that stays below its folder, and a name to put into a prompt."""
    if not isinstance(entry, list | tuple) or [type(value) for value in entry] != [str, int, str]:
        return False
    path, _, name = entry
    return not LEAVES.search(path) and bool(name.strip()) and name.isprintable()


def split_hash(split):
    """12 hex digits of sha256 over the whole split in order: order matters, few-shot draws depend on it."""
    canonical = json.dumps(split._asdict(), separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:12]


def class_names(split):
    """All class names in the order of their labels."""
    names = {item.label: item.classname for item in split.items()}
    return [names[label] for label in sorted(names)]


def subsample(split, subset, halves_seed=-1):
    """Split of the classes of `subset`, relabelled from 0 in their order: 'base' is the first ceil(n/2) of the sorted
    labels, or as many drawn by a `halves_seed` from 0 on; 'new' the rest.
    """
    if subset not in SUBSETS:
        raise UserError(f"DATASET.SUBSAMPLE_CLASSES is {subset!r}; it must be one of: {', '.join(SUBSETS)}")
    if subset == "all":
        return split
    labels = sorted({item.label for item in split.items()})
    half = math.ceil(len(labels) / 2)
    base = set(labels[:half] if halves_seed < 0 else random.Random(f"halves {halves_seed}").sample(labels, half))
    chosen = [label for label in labels if (label in base) == (subset == "base")]
    new_label = {label: i for i, label in enumerate(chosen)}
    return Split(*([i._replace(label=new_label[i.label]) for i in part if i.label in new_label] for part in split))


def split_classes(items, test=None):
    """Split of `items`, each class shuffled, classes in order of appearance: 50/20/30 of each class (at least one
    training and one test image), or with a published `test` 80/20 for train and val.

    Raises UserError for a class with one item.
    """
    rng = random.Random(SPLIT_SEED)
    split = Split([], [], test or [])
    for group in by_label(items).values():
        if len(group) < 2:
            raise UserError(f"class {group[0].classname!r} has only 1 image; a split needs 2 of each class")
        rng.shuffle(group)
        n_val = round(0.2 * len(group))
        if test is None:
            n_train = max(1, round(0.5 * len(group)))
            n_val = min(n_val, len(group) - n_train - 1)
            split.train.extend(group[:n_train])
            split.val.extend(group[n_train : n_train + n_val])
            split.test.extend(group[n_train + n_val :])
        else:
            split.val.extend(group[:n_val])
            split.train.extend(group[n_val:])
    return split


def by_label(items):
    """{label: [items]} in order of appearance."""
    groups = {}
    for item in items:
        groups.setdefault(item.label, []).append(item)
    return groups
