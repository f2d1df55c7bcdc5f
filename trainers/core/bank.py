"""Feature banks: features by image in a safetensors file, read back only when it verifies."""

import hashlib
import json
import os

import torch
from safetensors import SafetensorError, safe_open

from .data import FeatureTable
from .files import BANK_FORMAT, OLD_BANK, UserError, first_five, has_sha256, header_digest, read_bank_header, replacing


def _digest(tensors):
    """sha256 over names, shapes and bytes of tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}{tensors[name].dtype}".encode())
        digest.update(tensors[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def with_digests(metadata, tensors):
    """The header `metadata` (str -> str) with a digest of the tensors and one of itself, which `is_intact` verifies."""
    metadata = {**metadata, "digest": _digest(tensors)}
    return {**metadata, "header_digest": header_digest(metadata)}


def is_intact(metadata, tensors):
    """Whether a header and its tensors are those that were written."""
    return metadata.get("digest") == _digest(tensors) and metadata.get("header_digest") == header_digest(metadata)


def write_bank(path, tensors, metadata):
    """Writes a safetensors file, whole or not at all; equal content makes equal bytes.

    `metadata` (str -> str) gains the format and the two digests that `read_bank` verifies. Raises UserError where the
    disk refuses.
    """
    with replacing(path) as part:
        _save(part, tensors, with_digests({**metadata, "format": BANK_FORMAT}, tensors))


def _save(path, tensors, metadata):
    """What safetensors.torch.save_file does, which has a random order for the metadata."""
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # keeps each of them aligned
    header, end = {"__metadata__": dict(sorted(metadata.items()))}, 0
    for name in names:
        tensor = tensors[name]
        kind = f"{'F' if tensor.is_floating_point() else 'I'}{8 * tensor.element_size()}"
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(tensors[name].contiguous().numpy())
        file.flush()
        os.fsync(file.fileno())


def read_bank(path):
    """-> (tensors, metadata). Raises UserError when the file is missing, damaged, or not a feature bank."""
    metadata = read_bank_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"feature bank {path} is damaged ({error}); delete it and make it again") from None
    if metadata.get("digest") != _digest(tensors):
        raise UserError(
            f"feature bank {path} is damaged (its content does not match its digest); delete it and make it again"
        )
    return tensors, metadata


class BankStore:
    """Features from one bank file; needs no images. `about` says which it is: path, digest, size and time.

    Raises UserError where the bank does not belong to this backbone."""

    def __init__(self, path, backbone):
        state = os.stat(path) if os.path.isfile(path) else None  # first: the file may be replaced while it is read
        tensors, metadata = read_bank(path)
        self.path, self.digest = path, metadata.get("header_digest", metadata["digest"])
        self.about = {"path": os.path.abspath(path), "sha256": self.digest, "size": state.st_size}
        self.about["mtime_ns"] = state.st_mtime_ns
        if metadata.get("backbone_hash") != backbone.weights_hash:
            raise UserError(
                f"feature bank {path} was made with {metadata.get('backbone')} (weights "
                f"{metadata.get('backbone_hash', 'unknown')[:12]}), but the run uses {backbone.name} "
                f"({backbone.weights_hash[:12]}): set MODEL.BACKBONE.NAME, or use images with --root"
            )
        if metadata["format"] == OLD_BANK and not has_sha256(path):
            print(
                f"feature bank {path} is of an old format without a digest of its header (split, class names): changes "
                f"there cannot be noticed. From now on they are with: sha256sum {path} > {path}.sha256"
            )
        try:
            self.tables = self._read_tables(tensors, json.loads(metadata["split"]))
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(f"feature bank {path} has no usable split in its header: {error!r}") from None

    def _read_tables(self, tensors, split):
        """{part: FeatureTable}; an image has one row where there are no offsets."""
        tables = {}
        for name, items in split.items():
            features = tensors[f"{name}.features"]
            offsets = tensors.get(f"{name}.offsets", torch.arange(len(features) + 1))
            if len(offsets) != len(items) + 1 or offsets[-1] != len(features):
                raise UserError(
                    f"feature bank {self.path} has {len(features)} rows of {len(offsets) - 1} {name} images, but its "
                    f"split names {len(items)}: make it again with scripts/extract_features.py"
                )
            tables[name] = FeatureTable(features, offsets, [item[0] for item in items])
        return tables

    @property
    def unreadable(self):
        """Paths of the images that the bank has no features of."""
        return set().union(*(table.unreadable for table in self.tables.values()))

    def _find(self, items, order):
        paths = [item.impath for item in items]
        for name in order:
            table = self.tables.get(name)
            if table is not None and table.row.keys() >= {*paths}:
                return table.lookup(paths, [item.label for item in items])
        known = set().union(*(table.row for table in self.tables.values()))
        raise UserError(
            f"feature bank {self.path} does not hold {first_five(path for path in paths if path not in known)}; make a "
            "new bank with scripts/extract_features.py, or use --root"
        )

    def training_views(self, items):
        """Random training views."""
        return self._find(items, ("train", "val", "test"))

    def plain_views(self, items):
        """The plain view; of a training image held out for validation, the training views it has."""
        return self._find(items, ("test", "val", "train"))
