"""From images to features: with progress, in parts that survive an interruption, in one or many processes (torchrun).

View k of an image is seeded by its relative path, k and FEATURES.SEED alone, so it does not depend on the run, the
order or the number of processes.
"""

import hashlib
import json
import os
import random
import shutil
import time
from pathlib import Path

import torch
from dassl.data.transforms import build_transform
from dassl.utils import read_image
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..errors import UserError
from ..randomness import derive_seed, preserved_randomness
from .bank import read_bank, write_bank
from .feature_set import FeatureTable

PART = 256  # images; what an interruption can cost
BATCH = {"cpu": 8, "cuda": 256}  # images an encoder pass; a CPU is fastest where activations stay in its cache


class _Views(Dataset):
    """Image i -> ([V, 3, H, W], i); an unreadable image gives (its error message, i)."""

    def __init__(self, files, paths, transform, views, seed):
        self.files, self.paths, self.transform, self.views, self.seed = files, paths, transform, views, seed

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        try:
            image = read_image(self.files[i])
        except Exception as error:  # whatever a broken file makes a decoder raise
            return str(error), i
        if self.views == 0:
            return self.transform(image)[None], i
        with preserved_randomness():
            return torch.stack([self._view(image, i, k) for k in range(self.views)]), i

    def _view(self, image, i, k):
        seed = derive_seed(self.paths[i], k, self.seed)
        random.seed(seed)
        torch.manual_seed(seed)
        return self.transform(image)


class ImageStore:
    """Features of images on disk, through the cache. `views` below: 0 is the plain view, n > 0 are n random training
    views."""

    def __init__(self, cfg, backbone, image_dir, views):
        """`views`: how many random training views of an image are kept."""
        self.cfg, self.backbone, self.image_dir, self.views = cfg, backbone, image_dir, views
        self.folder = Path(cfg.FEATURES.DIR)
        self.tables = {}  # views -> tables in use: base and new, once there, also serve both together
        # a third faster for convolutions on a CPU, faster on a GPU too
        backbone.visual.to(memory_format=torch.channels_last)

    def training_views(self, items):
        """Random training views."""
        return self._features(items, self.views)

    def plain_views(self, items):
        """The plain view."""
        return self._features(items, 0)

    def relative(self, file):
        path = os.path.relpath(file, self.image_dir) if self.image_dir else file
        return file if path.startswith("..") else path.replace(os.sep, "/")

    def _features(self, items, views):
        paths, labels = [self.relative(item.impath) for item in items], [item.label for item in items]
        tables = self.tables.setdefault(views, [])
        new = [item.impath for item, path in zip(items, paths) if not any(path in table.row for table in tables)]
        if new:
            tables.append(self.table(new, views))
        return FeatureTable.join(tables).lookup(paths, labels)

    def key(self, files, paths, views):
        """Hash of everything that the features of these images depend on."""
        given = self.cfg.INPUT
        about = {
            "backbone": self.backbone.weights_hash,
            "preprocessing": [list(given.SIZE), given.INTERPOLATION, list(given.PIXEL_MEAN), list(given.PIXEL_STD)],
            "views": views,
            "dtype": str(self.backbone.dtype),
            "images": [(path, *_size_and_time(file)) for file, path in zip(files, paths)],
        }
        if views:
            about.update(
                transforms=list(given.TRANSFORMS), rrcrop_scale=list(given.RRCROP_SCALE), seed=self.cfg.FEATURES.SEED
            )
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]

    def table(self, files, views):
        """-> FeatureTable of these image files, from the cache where it verifies, else encoded now (and cached).

        Raises UserError naming an image that cannot be read, unless DATASET.SKIP_BAD_IMAGES, which gives it no views
        and counts it.
        """
        files = list(dict.fromkeys(files))
        paths = [self.relative(file) for file in files]
        cached = self.folder / f"{self.key(files, paths, views)}.safetensors"
        if cached.exists():
            try:
                tensors, _ = read_bank(cached)
                return FeatureTable(tensors["features"], tensors["offsets"], paths)
            except UserError as error:
                print(f"{error}: encoding again")
                cached.unlink()
        with preserved_randomness():  # workers are seeded from torch's generator; a cold cache must not change a run
            tensors = self._encode(files, paths, views, cached)
        return FeatureTable(tensors["features"], tensors["offsets"], paths)

    def _encode(self, files, paths, views, cached):
        """Encodes part after part; under torchrun, this process takes every WORLD_SIZE-th part and rank 0 joins
        them."""
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        parts = [cached.with_suffix(".parts") / f"{i:05d}.safetensors" for i in range((len(files) + PART - 1) // PART)]
        transform = build_transform(self.cfg, is_train=views > 0)
        mine = [i for i in range(len(parts)) if i % world == rank]
        what = (
            f"encoding {len(files)} images ({f'{views} random views' if views else 'plain view'}, {self.backbone.name})"
        )
        with tqdm(total=sum(len(files[i * PART : (i + 1) * PART]) for i in mine), desc=what, unit="img") as bar:
            for i in mine:
                chunk = slice(i * PART, (i + 1) * PART)
                if not self._finished(parts[i]):
                    dataset = _Views(files[chunk], paths[chunk], transform, views, self.cfg.FEATURES.SEED)
                    write_bank(parts[i], self._encode_part(dataset), {})
                bar.update(len(files[chunk]))
        if rank == 0:
            return self._join(parts, cached)
        while not cached.exists():
            time.sleep(0.2)
        return read_bank(cached)[0]

    @staticmethod
    def _finished(part):
        try:
            read_bank(part)
            return True
        except UserError:
            return False

    @torch.no_grad()
    def _encode_part(self, dataset):
        device = self.backbone.logit_scale.device
        size = max(1, BATCH.get(device.type, 64) // max(dataset.views, 1))
        loader = DataLoader(dataset, batch_size=size, num_workers=self.cfg.DATALOADER.NUM_WORKERS, collate_fn=list)
        features, counts = [], []
        for batch in loader:
            for images, i in batch:
                if isinstance(images, str):
                    self._bad_image(dataset.files[i], images)
            good = [images for images, _ in batch if not isinstance(images, str)]
            counts += [0 if isinstance(images, str) else len(images) for images, _ in batch]
            if good:
                images = torch.cat(good).to(device, self.backbone.dtype, memory_format=torch.channels_last)
                encoded = self.backbone.encode_image(images)
                features.append(encoded.to("cpu", torch.float16))
        counts = torch.tensor([0] + counts).cumsum(0)
        empty = torch.empty(0, self.backbone.embed_dim, dtype=torch.float16)
        return {"features": torch.cat(features or [empty]), "offsets": counts}

    def _bad_image(self, file, reason):
        if not self.cfg.DATASET.SKIP_BAD_IMAGES:
            raise UserError(
                f"cannot read the image {file} ({reason}); replace it, or set DATASET.SKIP_BAD_IMAGES True to leave "
                "it out"
            )
        print(f"skipped the unreadable image {file}")

    @staticmethod
    def _join(parts, cached):
        while not all(part.exists() for part in parts) and not cached.exists():
            time.sleep(0.2)  # other ranks, or another process on the same images, are still at theirs
        if not cached.exists():
            read = [read_bank(part)[0] for part in parts]
            counts = [part["offsets"].diff() for part in read]
            offsets = torch.cat([torch.zeros(1, dtype=torch.long), *counts]).cumsum(0)
            write_bank(cached, {"features": torch.cat([part["features"] for part in read]), "offsets": offsets}, {})
        shutil.rmtree(cached.with_suffix(".parts"), ignore_errors=True)
        return read_bank(cached)[0]


def _size_and_time(file):
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0  # the reader of the image will say what is wrong with it
    return found.st_size, found.st_mtime_ns
