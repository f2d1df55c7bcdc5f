"""Feature banks: features by image in a safetensors file, of which no row is used that does not verify."""

import hashlib
import json
import os
import zlib

import torch
from safetensors import safe_open
from torch import Tensor

from .bank_header import BANK_FORMAT, damaged, header_digest, pack_split, read_bank_columns, read_bank_header
from .data import VIEWS_BESIDE_IMAGES, FeatureTable, Store
from .files import UserError, first_five, replacing

BLOCK = 1024  # rows at a time: what is read of a file, and so the memory that reading takes
OTHER_CONTENT = "its content does not match its digest"


def blocks(count):
    """The rows 0 to `count`, BLOCK at a time."""
    return torch.arange(count).split(BLOCK) if count else ()


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


def _checks(rows):
    """A checksum of each row [n, d] -> int32 [n]."""
    found = [zlib.crc32(row) for row in rows.contiguous().view(torch.uint8).numpy()]
    return torch.tensor(found, dtype=torch.int64).to(torch.int32)


class StoredRows:
    """Features [R, d] in a file. `[rows]` reads some of them, and raises UserError where one is not what was written.

    The file is mapped for as long as that takes: pages that were read would count as memory of this process.
    """

    def __init__(self, path, name, features, checks):
        self.path, self.name, self.checks = path, name, checks
        self.shape, self.dtype = features.shape, features.dtype

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows: Tensor) -> Tensor:
        features = torch.empty(len(rows), self.shape[1], dtype=self.dtype)
        for part, out in zip(rows.split(BLOCK), features.split(BLOCK)):
            with safe_open(self.path, framework="pt") as file:
                torch.index_select(file.get_tensor(self.name), 0, part, out=out)
            if not torch.equal(_checks(out), self.checks[part]):
                raise damaged(self.path, OTHER_CONTENT)
        return features


def write_bank(path, tensors, metadata):
    """Writes a safetensors file, whole or not at all; equal content makes equal bytes.

    Of `tensors`, those called features [R, d] may be any rows that `[index]` reads, and gain a checksum of each row.
    `metadata` (str -> str) gains the format and the digests that are verified; its "split", {part: [(path, label, class
    name)]}, becomes a tensor.
    """
    metadata, tensors = {**metadata, "format": BANK_FORMAT}, dict(tensors)
    if "split" in metadata:
        packed = pack_split(metadata.pop("split"))
        metadata["split_digest"] = hashlib.sha256(packed).hexdigest()
        tensors["split"] = torch.frombuffer(bytearray(packed), dtype=torch.uint8)
    for name in [name for name in tensors if name.endswith("features")]:
        checks = [_checks(tensors[name][rows]) for rows in blocks(len(tensors[name]))]
        tensors[f"{name}.checks"] = torch.cat([torch.empty(0, dtype=torch.int32), *checks])
    with replacing(path) as part:
        _save(part, tensors, with_digests(metadata, _without_rows(tensors)))


def _without_rows(tensors):
    """The tensors of a bank; of features, which have checksums, an empty one of their width."""
    return {
        name: torch.empty(0, value.shape[1], dtype=value.dtype) if f"{name}.checks" in tensors else value
        for name, value in tensors.items()
    }


def _save(path, tensors, metadata):
    """What safetensors.torch.save_file does, which has a random order for the metadata."""
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))  # keeps each of them aligned
    header, end = {"__metadata__": dict(sorted(metadata.items()))}, 0
    for name in names:
        dtype, shape = tensors[name].dtype, tensors[name].shape
        kind = "F" if dtype.is_floating_point else "U" if dtype == torch.uint8 else "I"
        start, end = end, end + shape.numel() * dtype.itemsize
        header[name] = {"dtype": f"{kind}{8 * dtype.itemsize}", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            for rows in blocks(len(tensors[name])):
                file.write(tensors[name][rows].contiguous().numpy())


def open_bank(path):
    """-> (tensors, header), features as StoredRows. Raises UserError when the file is missing, damaged, or not a
    feature bank."""
    metadata = read_bank_header(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if metadata.get("digest") != _digest(_without_rows(tensors)):
        raise damaged(path, OTHER_CONTENT)
    for name in [name for name in tensors if f"{name}.checks" in tensors]:
        tensors[name] = StoredRows(path, name, tensors[name], tensors.pop(f"{name}.checks"))
    tensors.pop("split", None)
    return tensors, metadata


class BankStore(Store):
    """Features from one bank file; needs no images. `about` says which it is.

    Raises UserError where the bank is missing or damaged, or does not belong to this backbone."""

    def __init__(self, path, backbone, views=VIEWS_BESIDE_IMAGES):
        super().__init__(views)
        tensors, metadata = open_bank(path)
        self.path, self.digest = path, metadata.get("header_digest", metadata["digest"])
        self.about = {"path": os.path.abspath(path), "sha256": self.digest}
        if metadata.get("backbone_hash") != backbone.weights_hash:
            raise UserError(
                f"feature bank {path} was made with {metadata.get('backbone')}, whose weights are not those of "
                f"{backbone.name} as the run has it: set MODEL.BACKBONE.NAME, or use images with --root"
            )
        parts = []
        for name, (paths, _) in read_bank_columns(path, metadata)[0].items():
            features = tensors[f"{name}.features"]
            offsets = tensors.get(f"{name}.offsets", torch.arange(len(features) + 1))  # older: a row each
            if len(offsets) != len(paths) + 1 or offsets[-1] != len(features):
                raise damaged(path, f"it has {len(offsets) - 1} {name} images, but its split names {len(paths)}")
            parts.append(FeatureTable(features, offsets, paths))
        self.tables = dict.fromkeys((0, views), FeatureTable.join(parts))  # an image has the views that were stored

    def table(self, files, views):
        raise UserError(f"feature bank {self.path} does not hold {first_five(files)}; make a new one, or use --root")
