"""Images, or features, that a program hands over, and a store of their features in the place of a bank or a cache.
Nothing is written."""

import hashlib
import os
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import torch
from dassl.data import transforms
from dassl.utils import read_image
from PIL import Image
from tqdm import tqdm

from .data import FeatureTable, Store
from .extraction import Views, encode
from .files import UserError, hash_of, sha256_of
from .folders import list_images
from .randomness import preserved_randomness

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


def keys_of(sources) -> list[str]:
    """What each image is called: its path, else its place."""
    return [source if isinstance(source, str) else f"image {i}" for i, source in enumerate(sources)]


# ---- features


class MemoryViews(Views):
    def read(self, source):
        if isinstance(source, str):
            return read_image(source)
        if isinstance(source, np.ndarray):
            return Image.fromarray(np.ascontiguousarray(source))
        return source.convert("RGB")

    def name(self, image, i):
        return hashlib.sha256(image.tobytes()).hexdigest()


class MemoryStore(Store):
    """Features of images by their keys. A view depends on the image alone, not on its place or name."""

    encode_image = None  # of a trainer that tunes the image tower

    def __init__(self, cfg, backbone, images: dict, views: int, hides_bars: bool | None = None):
        super().__init__(views)
        self.cfg, self.backbone, self.images, self.hides_bars = cfg, backbone, images, hides_bars
        self.faults: dict[str, str] = {}  # {key: why the image cannot be read}

    @cached_property
    def digest(self) -> str:
        """A hash of all images and their keys."""
        return hash_of(sorted((key, content_of(image)) for key, image in self.images.items()))

    def table(self, keys, views):
        transform, seed = transforms.build_transform(self.cfg, is_train=views > 0), self.cfg.FEATURES.SEED
        todo = MemoryViews([self.images[key] for key in keys], keys, transform, views, seed)
        workers, options = self.cfg.DATALOADER.NUM_WORKERS, {"leave": False, "disable": self.hides_bars}
        with preserved_randomness(), tqdm(total=len(keys), desc="encoding", unit="img", **options) as bar:
            found = encode(self.backbone, todo, workers, bar, self.encode_image)
        self.faults |= {keys[i]: reason for i, reason in todo.faults.items()}
        return FeatureTable(found["features"], found["offsets"], keys)


class RowStore(Store):
    """Features [N, d] that were handed over, under the keys "image 0", ...: each is the one view of its image."""

    def __init__(self, features: torch.Tensor):
        super().__init__(views=1)
        keys = keys_of([None] * len(features))
        self.digest = hashlib.sha256(features.numpy().tobytes()).hexdigest()[:16]
        self.tables = dict.fromkeys((0, 1), FeatureTable(features, torch.arange(len(features) + 1), keys))
