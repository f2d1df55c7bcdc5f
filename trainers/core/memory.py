"""Images, or features, that a program hands over, and a store of their features in the place of a bank or a cache.
Nothing is written."""

import hashlib
import os
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import torch
from PIL import Image

from .data import FeatureTable, Store
from .extraction import EncodingStore
from .files import UserError, hash_of, sha256_of
from .folders import list_images

# Modes of PIL with 8 bits; convert("RGB") would cut off the values of others.
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
EXPECTED = "paths, folders, PIL images of 8 bits, or NumPy arrays of uint8 [H, W, 3]; or features, floats [N, d]"


# ---- what is handed over


def as_features(images, width: int) -> torch.Tensor | None:
    """Unit features [N, d] where `images` are features, a float array [N, d]; else None. Raises UserError where d is
    another width than the backbone's, or a row has no direction."""
    if isinstance(images, torch.Tensor):
        images = images.detach().cpu().numpy()
    if not isinstance(images, np.ndarray) or not np.issubdtype(images.dtype, np.floating):
        return None
    features = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    norms = features.norm(dim=-1, keepdim=True)
    if features.dim() != 2 or features.shape[1] != width or not norms.isfinite().all() or not norms.all():
        raise UserError(f"features have the shape [N, {width}], are finite and not zero, found {images.shape}")
    return torch.where((norms - 1).abs() < 1e-2, features, features / norms)


def sources_of(images) -> list:
    """The single images, each a path, a PIL image or an array; those below a folder in the order of their names. Raises
    UserError for anything else."""
    if isinstance(images, (str, os.PathLike)):
        path = os.path.expanduser(os.fspath(images))
        found = [os.path.join(path, name) for name in list_images(path)] if os.path.isdir(path) else [path]
        if not found or not os.path.isfile(found[0]):
            raise UserError(f"there is no image that Pillow reads: {path}")
        return found
    is_array = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 3 and images.shape[2] == 3
    if is_array or (isinstance(images, Image.Image) and images.mode in MODES):
        return [images]
    if not isinstance(images, Iterable) or isinstance(images, (bytes, torch.Tensor)):
        raise UserError(f"expected {EXPECTED}; found {images!r:.80}")
    return [source for part in images for source in sources_of(part)]


def content_of(source) -> str:
    """A hash of an image's file, or of its pixels."""
    if isinstance(source, str):
        return sha256_of(source)
    size, data = (source.shape, source) if isinstance(source, np.ndarray) else (source.size, source.convert("RGB"))
    return hashlib.sha256(f"{tuple(size)}".encode() + data.tobytes()).hexdigest()


# ---- features


def store_of(trainer, images) -> tuple[list[str], Store]:
    """-> (what each image is called, its path, else its place; the store of the features that the images have, or are).
    Raises UserError."""
    rows = as_features(images, trainer.backbone.embed_dim)
    sources = sources_of(images) if rows is None else range(len(rows))
    keys = [source if isinstance(source, str) else f"image {i}" for i, source in enumerate(sources)]
    if rows is not None:
        return keys, RowStore(rows, keys)
    return keys, MemoryStore(trainer.cfg, trainer.backbone, dict(zip(keys, sources)), trainer.hides_bars)


class MemoryStore(EncodingStore):
    """Features of images by their keys. A view depends on the image alone, not on its place or name."""

    named = False

    def __init__(self, cfg, backbone, images: dict, hides_bars: bool | None):
        super().__init__(cfg, backbone)
        self.images, self.hides_bars = images, hides_bars

    @cached_property
    def digest(self) -> str:
        """A hash of all images and their keys."""
        return hash_of(sorted((key, content_of(image)) for key, image in self.images.items()))

    def source(self, key):
        return self.images[key]


class RowStore(Store):
    """Features [N, d] that were handed over, under their keys: each is the one view of its image."""

    def __init__(self, features: torch.Tensor, keys: list[str]):
        super().__init__(views=1)
        self.digest = hashlib.sha256(features.numpy().tobytes()).hexdigest()[:16]
        self.tables = dict.fromkeys((0, 1), FeatureTable(features, torch.arange(len(features) + 1), keys))
