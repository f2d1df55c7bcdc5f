"""Items from the header of a feature bank, so that a dataset loads without its images (tensors are read elsewhere)."""

import json

from dassl.utils import UserError

from trainers.core.files import header_digest, verified_sha256

from .splits import check_split

FORMAT, WITHOUT_HEADER_DIGEST = "ship-bank-2", "ship-bank-1"


def read_bank_split(path, dataset, needs_train=True):
    """Split in the header of the bank at `path`, which must be one of `dataset` (a reader's name). Raises UserError."""
    from safetensors import safe_open

    try:
        verified_sha256(path)  # refuses a bank that differs from the .sha256 beside it
        with safe_open(path, framework="numpy") as bank:
            header = bank.metadata() or {}
    except Exception as error:  # safetensors' own error type, OSError, and more for damaged headers
        raise UserError(f"cannot read the feature bank {path} (FEATURES.BANK): {error}") from None
    form = header.get("format")
    if form not in (FORMAT, WITHOUT_HEADER_DIGEST):
        raise UserError(f"{path} is no feature bank: its header says format {form!r}, not {FORMAT!r}")
    if form == FORMAT and header.get("header_digest") != header_digest(header):
        raise UserError(
            f"the feature bank {path} (FEATURES.BANK) is damaged: it does not match the digest in its header; "
            "get it or make it again"
        )
    if header.get("dataset") != dataset:
        raise UserError(f"{path} is a bank of {header.get('dataset')!r}, but DATASET.NAME is {dataset!r}")
    try:
        raw = json.loads(header.get("split", ""))
    except ValueError as error:
        raise UserError(f"the split in the header of {path} is damaged: {error}") from None
    return check_split(raw, f"the split in the header of {path}", needs_train)
