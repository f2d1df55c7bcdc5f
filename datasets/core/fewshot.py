"""Few-shot selections, equal to CoOp's for the same split and seed: drawn, in lists that come with the project, and in
CoOp's pickles.

CoOp draws in the reader, directly after `random.seed(seed)`: per class, in order of appearance, `random.sample(images,
k)` from train, then min(k, 4) from val; a class with fewer images keeps all of them, in order, without a call to the
generator. It keeps the result in `split_fewshot/shot_{k}-seed_{s}.pkl` as Datum lists with the absolute paths of the
machine that drew them.

`fewshot/<Reader>-<split hash>-seed<s>.txt` holds the draws from the split of that hash, so that everyone trains on the
same images: a section header `[16 train]`, then a line for each class, its images in the order drawn. They share most
of their path, so a line reads `Faces/image_{0274,0339}.jpg`. The first line has the file's name and a digest of the
others.
"""

import hashlib
import os
import random
import re
from collections import Counter
from pathlib import Path

from dassl.data.datasets import Datum, read_fewshot
from dassl.utils import UserError

from .splits import Item, by_label

VAL_SHOTS = 4
LISTS = Path(__file__).resolve().parents[1] / "fewshot"
LISTED_SHOTS = (1, 2, 4, 8, 16)


def draw(split, shots, seed):
    """(train, val) items drawn as CoOp does. A negative seed draws anew each time, as everywhere in Dassl."""
    rng = random.Random(seed if seed >= 0 else None)  # in the state of the global generator after random.seed(seed)
    return sample(split.train, shots, rng), sample(split.val, min(shots, VAL_SHOTS), rng)


def sample(items, shots, rng):
    """`shots` items of each class, all where it has fewer."""
    drawn = []
    for group in by_label(items).values():
        drawn += rng.sample(group, shots) if len(group) >= shots else group
    return drawn


def list_path(name, hash_of_split, seed):
    """Path of the list for the reader `name`, which need not exist."""
    return LISTS / f"{name}-{hash_of_split}-seed{seed}.txt"


def read_list(path, split, shots):
    """(train, val) items of the list of `split`. Raises UserError where the file was changed."""
    head, _, body = path.read_text(encoding="utf-8").partition("\n")
    digest = hashlib.sha256(body.encode()).hexdigest()
    if not (head.startswith(f"# {path.name}:") and head.endswith(digest)):
        raise UserError(f"{path} is damaged: its lines do not match the digest in its first line; get it anew from git")
    parts = re.split(r"^\[(.+)\]\n", body, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    known = {item.path: item for item in split.train + split.val}
    chosen = []
    for part in ("train", "val"):
        lines = sections[f"{shots} {part}"].splitlines()
        chosen.append([known[name] for line in lines for name in expand(line)])
    return tuple(chosen)


def expand(line):
    """The paths of a line: what they share stands around braces with what differs."""
    match = re.fullmatch(r"([^{}]*)\{([^{}]*)\}([^{}]*)", line)
    return [match[1] + middle + match[3] for middle in match[2].split(",")] if match else [line]


def read_pickle(path, split, shots):
    """(train, val) items of a few-shot pickle, whichever machine made it. Raises UserError unless it has 1 to `shots`
    training images of each class, and all of its images are in the same part of `split`, with their labels and names.
    """
    data = read_fewshot(path)
    train, val = reroot(data["train"], split.train), reroot(data["val"], split.val)
    foreign = len({*train} - {*split.train}) + len({*val} - {*split.val})
    sizes = Counter(item.label for item in train)
    if foreign or sizes.keys() != {item.label for item in split.train} or max(sizes.values()) > shots:
        expected = f"1 to {shots} training images of each class, as the split has them"
        raise UserError(f"{path}: expected {expected}; {foreign} images have another part, label or name there")
    return train, val


def to_datums(items, image_dir):
    """Datum list of items; the path stays relative where there is no image folder."""
    return [Datum(impath=os.path.join(image_dir, i.path), label=i.label, classname=i.classname) for i in items]


def reroot(datums, items):
    """Items of `datums`: of each absolute path the longest end that is a path of `items` (else the file name)."""
    known = {item.path for item in items}
    items = []
    for datum in datums:
        steps = datum.impath.replace("\\", "/").split("/")
        ends = ("/".join(steps[i:]) for i in range(len(steps)))
        items.append(Item(next((end for end in ends if end in known), steps[-1]), datum.label, datum.classname))
    return items
