"""What a feature bank says about itself: its header, and the split of its images. Nothing here needs PyTorch."""

import hashlib
import json
import os
import zlib
from pathlib import Path

from .files import UserError, verified_sha256

# The first had no digest of the header. The first two hold the split in the header, and one digest of all features.
FORMATS = OLDEST, _, BANK_FORMAT = "ship-bank-1", "ship-bank-2", "ship-bank-3"


def damaged(path: str | Path, reason: object) -> UserError:
    """The error to raise about a bank that is not what was written."""
    return UserError(f"feature bank {path} is damaged ({reason}); delete it and make it again")


def header_digest(header: dict[str, str]) -> str:
    """sha256 of what the header of a feature bank says, its own digest left out; the tensors' digest is in it."""
    rest = {key: value for key, value in header.items() if key != "header_digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_bank_header(path: str | Path) -> dict[str, str]:
    """The header of the feature bank `path`, without its tensors. Raises UserError where the file is missing or no
    bank, or where the header is not the one that was written."""
    from safetensors import safe_open

    if not os.path.isfile(path):
        raise UserError(f"feature bank {path} does not exist: make one with extract_features.py, or give --root")
    if os.path.isfile(f"{path}.sha256"):
        verified_sha256(path)
    try:
        with safe_open(path, framework="numpy") as bank:
            header = bank.metadata() or {}
    except Exception as error:  # safetensors' own error type, OSError, and more for damaged headers
        raise damaged(path, error) from None
    if header.get("format") not in FORMATS:
        raise damaged(path, f"its format is {header.get('format')!r}, not {BANK_FORMAT!r}")
    if header["format"] != OLDEST and header.get("header_digest") != header_digest(header):
        raise damaged(path, "its header does not match its digest")
    return header


def read_bank_columns(path: str | Path, header: dict[str, str]) -> tuple[dict[str, list], list[str]]:
    """Of a bank with this header -> ({part: [relative paths, labels] of its images}, class names by label). Raises
    UserError."""
    from safetensors import safe_open

    if "split" in header:  # of the older formats
        columns = _columns(json.loads(header["split"]))
    else:
        with safe_open(path, framework="numpy") as bank:
            packed = bank.get_tensor("split")
        if hashlib.sha256(packed).hexdigest() != header["split_digest"]:
            raise damaged(path, "its split does not match its digest")
        columns = json.loads(zlib.decompress(packed).decode())
    names = columns.pop("classnames")
    return columns, names


def pack_split(split: dict[str, list]) -> bytes:
    """The columns of a split, compressed: safetensors allows a header 100 MB, which a million paths would fill."""
    return zlib.compress(json.dumps(_columns(split)).encode())


def _columns(split):
    names = {label: name for items in split.values() for _, label, name in items}
    columns = {part: [[item[0] for item in items], [item[1] for item in items]] for part, items in split.items()}
    return {"classnames": [names.get(label, "") for label in range(max(names, default=-1) + 1)], **columns}
