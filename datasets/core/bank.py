"""Items from the header of a feature bank, so that a dataset loads without its images (tensors are read elsewhere)."""

import json

from dassl.utils import UserError

from trainers.core.files import read_bank_header

from .splits import check_split


def read_bank_split(path, dataset, needs_train=True):
    """Split in the header of the bank at `path`, which must be one of `dataset` (a reader's name). Raises UserError."""
    header = read_bank_header(path)
    if header.get("dataset") != dataset:
        raise UserError(f"{path} is a bank of {header.get('dataset')!r}, but DATASET.NAME is {dataset!r}")
    source = f"the split in the header of {path}"
    try:
        raw = json.loads(header.get("split", ""))
    except ValueError as error:
        raise UserError(f"{source} is damaged: {error}") from None
    return check_split(raw, source, needs_train)
