"""Image features of a frozen encoder: computed once, cached, read back only when they verify.

A feature bank holds one or more views of each image: the random training views, or the one plain view (resize, centre
crop) of a test image. Whoever trains asks a `FeatureStore` for the `FeatureSet` of some items and never learns whether
it came from a shipped bank, a cache or the images.
"""

import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .errors import UserError

FORMAT = "ship-bank-1"


class FeatureSet:
    """Features of N labelled images, each with one or more views.

    features [R, d] unit norm; offsets [N + 1]: the views of image i are rows offsets[i]:offsets[i + 1]; labels [N].
    """

    def __init__(self, features, offsets, labels):
        self.features, self.offsets, self.labels = features, offsets, labels

    def __len__(self):
        return len(self.labels)

    @property
    def views(self):
        """Views per image [N]."""
        return self.offsets[1:] - self.offsets[:-1]

    def to(self, device, dtype):
        return FeatureSet(self.features.to(device, dtype), self.offsets.to(device), self.labels.to(device))

    def draw(self, index):
        """One view at random for each image of `index` [B] -> features [B, d], by torch's global generator."""
        index = index.to(self.offsets.device)
        views = self.views[index]
        pick = (torch.rand(len(index)).to(views.device) * views).long()
        return self.features[self.offsets[index] + pick.clamp(max=views - 1)]

    def mean(self):
        """The average over views of each image, back on the unit sphere [N, d]."""
        owner = torch.repeat_interleave(torch.arange(len(self), device=self.offsets.device), self.views)
        total = self.features.new_zeros(len(self), self.features.shape[1]).index_add_(0, owner, self.features)
        return torch.nn.functional.normalize(total, dim=-1)

    def select(self, keep):
        """The images of `keep` (indices or a boolean mask, [N])."""
        keep = torch.as_tensor(keep, device=self.labels.device)
        keep = keep.nonzero().flatten() if keep.dtype == torch.bool else keep
        rows = [torch.arange(self.offsets[i], self.offsets[i + 1], device=self.labels.device) for i in keep.tolist()]
        offsets = torch.cat([self.offsets.new_zeros(1), self.views[keep].cumsum(0)])
        return FeatureSet(self.features[torch.cat(rows)] if rows else self.features[:0], offsets, self.labels[keep])

    def relabel(self, shift):
        return FeatureSet(self.features, self.offsets, self.labels + shift)

    @staticmethod
    def join(sets):
        """The images of several sets, one after another."""
        sets = list(sets)
        offsets = torch.cat([sets[0].offsets[:1], torch.cat([s.views for s in sets]).cumsum(0)])
        return FeatureSet(torch.cat([s.features for s in sets]), offsets, torch.cat([s.labels for s in sets]))


class FeatureTable:
    """Features by image path: what one list of images became. features [R, d], offsets [N + 1], paths N relative
    paths."""

    def __init__(self, features, offsets, paths):
        self.features, self.offsets = features, offsets
        self.row = {path: i for i, path in enumerate(paths)}

    @staticmethod
    def join(tables):
        """One table of the images of several, which have no image in common."""
        if len(tables) == 1:
            return tables[0]
        offsets = torch.cat([torch.zeros(1, dtype=torch.long)] + [table.offsets.diff() for table in tables]).cumsum(0)
        return FeatureTable(
            torch.cat([table.features for table in tables]), offsets, [path for table in tables for path in table.row]
        )

    def lookup(self, paths, labels):
        """-> FeatureSet of the images at `paths`; images without a view (skipped as unreadable) are left out."""
        rows = torch.tensor([self.row[path] for path in paths], dtype=torch.long)
        found = FeatureSet(self.features, self.offsets, torch.zeros(len(self.row), dtype=torch.long)).select(rows)
        found = FeatureSet(found.features, found.offsets, torch.tensor(labels, dtype=torch.long))
        return found if bool((found.views > 0).all()) else found.select(found.views > 0)


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

    def train(self, items):
        """Random training views."""
        return self._find(items, ("train", "val", "test"))

    def plain(self, items):
        """The plain view; of a training image held out for validation, the training views it has."""
        return self._find(items, ("test", "val", "train"))


def open_store(cfg, backbone, image_dir):
    """The feature source that the config asks for: FEATURES.BANK, or images through the cache in FEATURES.DIR."""
    if cfg.FEATURES.BANK:
        return BankStore(cfg.FEATURES.BANK, backbone)
    from .extraction import ImageStore

    return ImageStore(cfg, backbone, image_dir)


def describe(train_set, wanted):
    """One log line about the views that training will draw from."""
    views = train_set.views
    fewer = int((views < wanted).sum())
    note = f"; {fewer} images have fewer than {wanted} views and use what they have" if fewer else ""
    return f"features: {len(train_set)} training images, {int(views.sum())} views{note}"
