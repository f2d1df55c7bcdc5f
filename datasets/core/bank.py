"""Items from a feature bank, so that a dataset loads without its images (features are read elsewhere)."""

import gc
from functools import partial

from dassl.utils import UserError

from trainers.core import bank_header

from .splits import Item, Split, check_split, split_hash


def read_bank_split(path, dataset, needs_train=True):
    """(split, its hash) of the bank at `path`, which must be one of `dataset` (a reader's name). Raises UserError."""
    header = bank_header.read_bank_header(path)
    if header.get("dataset") != dataset:
        raise UserError(f"{path} is a bank of {header.get('dataset')!r}, but DATASET.NAME is {dataset!r}")
    gc.disable()  # it would look through a million new items again and again
    try:
        raw = bank_header.read_bank_split(path, partial(tuple.__new__, Item))  # as Item(...), in half of its time
    finally:
        gc.enable()
    if "split_hash" in header:  # by scripts/extract_features.py, from a split that was checked
        return Split(**raw), header["split_hash"]
    split = check_split(raw, f"the split in {path}", needs_train)
    return split, split_hash(split)
