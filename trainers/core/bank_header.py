"""What a feature bank says about itself: its header, and the split of its images. Nothing here needs PyTorch."""

import hashlib
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

from .files import UserError, verified_sha256

# The first had no digest of the header. The first two hold the split in the header, and one digest of all features.
FORMATS = OLDEST, OLD, BANK_FORMAT = "ship-bank-1", "ship-bank-2", "ship-bank-3"


def header_digest(header: dict[str, str]) -> str:
    """sha256 of what the header of a feature bank says, its own digest left out; the tensors' digest is in it."""
    rest = {key: value for key, value in header.items() if key != "header_digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def has_sha256(path: str | Path) -> bool:
    """Whether a file beside `path` has its sha256."""
    return os.path.isfile(f"{path}.sha256")


def read_bank_header(path: str | Path) -> dict[str, str]:
    """The header of the feature bank `path`, without its tensors. Raises UserError where the file is missing or no
    bank, or where the header is not the one that was written."""
    return _read(path)[0]


def read_bank_split(path: str | Path, item: Callable = tuple) -> dict[str, list]:
    """{part: [item((relative path, label, class name)) of each image]}, to be checked by who reads it; of the old
    formats lists of these three. Raises UserError, also where it is not what was written."""
    split, names = _split(path)
    if names is None:
        return split
    return {
        part: list(map(item, zip(paths, labels, map(names.__getitem__, labels))))
        for part, (paths, labels) in split.items()
    }


def read_bank_paths(path: str | Path) -> dict[str, list[str]]:
    """{part: relative paths of its images}. Raises UserError."""
    split, names = _split(path)
    return {part: [item[0] for item in rows] if names is None else rows[0] for part, rows in split.items()}


def _split(path):
    """-> ({part: (paths, labels)}, class names by label); of the old formats ({part: items}, None)."""
    header, packed = _read(path, "split")
    try:
        if packed is None:
            return json.loads(header.get("split", "")), None
        if hashlib.sha256(packed).hexdigest() != header.get("split_digest"):
            raise ValueError("it does not match its digest")
        columns = json.loads(zlib.decompress(packed).decode())
        return columns, columns.pop("classnames")
    except (ValueError, zlib.error) as error:
        raise UserError(f"the split in the feature bank {path} is damaged: {error}") from None


def pack_split(split: dict[str, list]) -> bytes:
    """The columns of a split, compressed: safetensors allows a header 100 MB, which a million paths would fill."""
    names = {label: name for items in split.values() for _, label, name in items}
    columns = {part: [[item[0] for item in items], [item[1] for item in items]] for part, items in split.items()}
    text = json.dumps({"classnames": [names.get(label, "") for label in range(max(names, default=-1) + 1)], **columns})
    return zlib.compress(text.encode())


def _read(path, name=""):
    """-> (header, the tensor `name` or None where there is none)."""
    from safetensors import safe_open

    if not os.path.isfile(path):
        raise UserError(
            f"feature bank {path} (FEATURES.BANK) does not exist; make one with scripts/extract_features.py, or give "
            "--root to use images"
        )
    if has_sha256(path):
        verified_sha256(path)
    try:
        with safe_open(path, framework="numpy") as bank:
            header = bank.metadata() or {}
            tensor = bank.get_tensor(name) if name in bank.keys() else None
    except Exception as error:  # safetensors' own error type, OSError, and more for damaged headers
        raise UserError(f"feature bank {path} is damaged ({error}); delete it and make it again") from None
    form = header.get("format")
    if form not in FORMATS:
        raise UserError(f"{path} is no feature bank: its header says format {form!r}, not {BANK_FORMAT!r}")
    if form != OLDEST and header.get("header_digest") != header_digest(header):
        raise UserError(f"feature bank {path} is damaged (its header does not match its digest); make it again")
    return header, tensor
