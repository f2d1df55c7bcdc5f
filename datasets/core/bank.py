"""Items from the header of a feature bank, so that a dataset loads without its images (tensors are read elsewhere)."""

import json

from dassl.utils import UserError

from .splits import check_split

FORMAT = "ship-bank-1"


def read_bank_split(path, dataset, needs_train=True):
    """Split in the header of the bank at `path`, which must be one of `dataset` (a reader's name). Raises UserError."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as bank:
            header = bank.metadata() or {}
    except Exception as error:  # safetensors' own error type, OSError, and more for damaged headers
        raise UserError(f"cannot read the feature bank {path} (FEATURES.BANK): {error}") from None
    if header.get("format") != FORMAT:
        raise UserError(f"{path} is no feature bank: its header says format {header.get('format')!r}, not {FORMAT!r}")
    if header.get("dataset") != dataset:
        raise UserError(f"{path} is a bank of {header.get('dataset')!r}, but DATASET.NAME is {dataset!r}")
    try:
        raw = json.loads(header.get("split", ""))
    except (ValueError, RecursionError) as error:
        raise UserError(f"the split in the header of {path} is damaged: {error}") from None
    return check_split(raw, f"the split in the header of {path}", needs_train)
