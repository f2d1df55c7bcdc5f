"""Feature banks: features by image in a safetensors file, read back only when it verifies."""

import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import UserError
from .feature_set import FeatureTable

FORMAT = "ship-bank-1"


def _digest(tensors):
    """sha256 over names, shapes and bytes of the tensors of a bank."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}{tensors[name].dtype}".encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_bank(path, tensors, metadata):
    """Writes a safetensors file atomically; `metadata` (str -> str) gains the format and the digest that `read_bank`
    verifies."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, part, {**metadata, "format": FORMAT, "digest": _digest(tensors)})
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_bank(path):
    """-> (tensors, metadata). Raises UserError when the file is missing, damaged, or not a feature bank."""
    if not os.path.isfile(path):
        raise UserError(
            f"feature bank {path} does not exist; make one with scripts/extract_features.py, or give --root to use "
            "images"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"feature bank {path} is damaged ({error}); delete it and make it again") from None
    if metadata.get("format") != FORMAT:
        raise UserError(
            f"{path} is not a feature bank: its header says format {metadata.get('format')!r}, expected {FORMAT!r}"
        )
    if metadata.get("digest") != _digest(tensors):
        raise UserError(
            f"feature bank {path} is damaged (its content does not match its digest); delete it and make it again"
        )
    return tensors, metadata


class BankStore:
    """Features from one bank file; needs no images. Raises UserError where the bank does not belong to this
    backbone."""

    def __init__(self, path, backbone):
        self.path = path
        tensors, metadata = read_bank(path)
        if metadata["backbone_hash"] != backbone.weights_hash:
            raise UserError(
                f"feature bank {path} was made with {metadata['backbone']} (weights "
                f"{metadata['backbone_hash'][:12]}), but the run uses "
                f"{backbone.name} ({backbone.weights_hash[:12]}): set MODEL.BACKBONE.NAME, or use images with --root"
            )
        split = json.loads(metadata["split"])
        self.tables = {}
        for name, items in split.items():
            features = tensors[f"{name}.features"]
            offsets = tensors.get(f"{name}.offsets", torch.arange(len(features) + 1))
            self.tables[name] = FeatureTable(features, offsets, [item[0] for item in items])

    def _find(self, items, order):
        for name in order:
            table = self.tables.get(name)
            if table is not None and all(item.impath in table.row for item in items):
                return table.lookup([item.impath for item in items], [item.label for item in items])
        missing = next(
            item.impath for item in items if not any(item.impath in table.row for table in self.tables.values())
        )
        raise UserError(
            f"feature bank {self.path} does not hold {missing}; make a new bank with scripts/extract_features.py, or "
            "use --root"
        )

    def training_views(self, items):
        """Random training views."""
        return self._find(items, ("train", "val", "test"))

    def plain_views(self, items):
        """The plain view; of a training image held out for validation, the training views it has."""
        return self._find(items, ("test", "val", "train"))
