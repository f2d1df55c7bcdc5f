"""Few-shot selections, equal to CoOp's for the same split and seed.

CoOp draws in the reader, directly after `random.seed(seed)`: per class, in order of appearance, `random.sample(images,
k)` from train, then min(k, 4) from val; a class with fewer images keeps all of them, in order, without a call to the
generator. It keeps the result in `split_fewshot/shot_{k}-seed_{s}.pkl` as Datum lists with the absolute paths of the
machine that drew them.
"""

import os
import random
from collections import Counter

from dassl.data.datasets import Datum, read_fewshot
from dassl.utils import UserError

from .splits import Item, by_label

VAL_SHOTS = 4


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
