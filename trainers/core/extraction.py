"""From image files to features: read by worker processes, encoded in parts that survive an interruption, by one or many
processes (torchrun), and cached.

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
from dassl.data import transforms
from dassl.utils import read_image
from torch.utils.data import Dataset
from tqdm import tqdm

from .bank import blocks, open_bank, write_bank
from .contents import content_hashes
from .data import FeatureTable
from .files import UserError, first_five, locked
from .randomness import derive_seed, preserved_randomness
from .workers import image_batches, rank_and_world

BATCH = {"cpu": 4, "cuda": 256}  # images an encoder pass; a CPU is fastest where activations stay in its cache


class Views(Dataset):
    """Image i -> (array [V, 3, H, W], ""); an unreadable image gives ((), its error message).

    Arrays, because workers send them through a pipe. Tensors go through shared memory, and where that is full the
    worker's error reaches nobody.
    """

    def __init__(self, files, paths, transform, views, seed):
        self.files, self.paths, self.transform, self.views, self.seed = files, paths, transform, views, seed
        self.faults: dict[int, str] = {}  # why image i cannot be read, where `encode` found out

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        try:
            image = self.read(self.files[i])
        except Exception as error:  # whatever a broken file makes a decoder raise
            return (), str(error)
        if self.views == 0:
            return self.transform(image)[None].numpy(), ""
        with preserved_randomness():
            return torch.stack([self._view(image, i, k) for k in range(self.views)]).numpy(), ""

    def read(self, file):
        """-> an RGB PIL image."""
        return read_image(file)

    def name(self, image, i):
        """What the views of image i are drawn by."""
        return self.paths[i]

    def _view(self, image, i, k):
        seed = derive_seed(self.name(image, i), k, self.seed)
        random.seed(seed)
        torch.manual_seed(seed)
        return self.transform(image)


@torch.no_grad()
def encode(backbone, views, workers, bar, encode_image=None, dtype=torch.float16):
    """-> {"features" [R, d] of `dtype`, "offsets" [N + 1]} of the N images of `views`; an unreadable one has no row,
    and is named in a line. The progress bar `bar` moves with each batch. `encode_image`: another way of encoding than
    the backbone's."""
    device, encode_image = backbone.logit_scale.device, encode_image or backbone.encode_image
    size = max(1, BATCH.get(device.type, 64) // max(views.views, 1))
    features, counts = [], [0]
    for batch in image_batches(views, workers, batch_size=size, collate_fn=list):
        good = []
        for images, reason in batch:
            if reason:
                views.faults[len(counts) - 1] = reason
                print(f"unreadable: {reason}")
            else:
                good.append(torch.from_numpy(images))
            counts.append(len(images))
        if good:
            images = torch.cat(good).to(device, backbone.dtype, memory_format=torch.channels_last)
            features.append(encode_image(images).to("cpu", dtype))
        bar.update(len(batch))
    features = features or [torch.empty(0, backbone.embed_dim, dtype=dtype)]
    return {"features": torch.cat(features), "offsets": torch.tensor(counts).cumsum(0)}


PART = 256  # images; what an interruption can cost
SILENCE, PAUSE = 10, 0.2  # seconds of waiting before it is said, and between two looks


class ImageStore:
    """Features of images on disk, through the cache. `views` is how many random training views of an image are kept;
    in the methods 0 stands for the plain view."""

    def __init__(self, cfg, backbone, image_dir, views):
        self.cfg, self.backbone, self.image_dir, self.views = cfg, backbone, image_dir, views
        self.folder = Path(cfg.FEATURES.DIR)
        self.unreadable = set()  # files that were left out
        self.tables = {}  # views -> tables in use: base and new, once there, also serve both together

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
        known = FeatureTable.join(tables).find(paths) if tables else {}
        new = [item.impath for item, path in zip(items, paths) if path not in known]
        if new:
            tables.append(self.table(new, views))
        return FeatureTable.join(tables).lookup(paths, labels)

    def key(self, files, paths, views):
        """Hash of everything that the features of these images depend on."""
        options = self.cfg.INPUT
        about = {
            "backbone": self.backbone.weights_hash,
            "preprocessing": [options.SIZE, options.INTERPOLATION, options.PIXEL_MEAN, options.PIXEL_STD],
            "views": views,
            "dtype": str(self.backbone.dtype),
            "images": list(zip(paths, content_hashes(files, self.folder))),
        }
        if views:
            about |= {"transforms": options.TRANSFORMS, "rrcrop_scale": options.RRCROP_SCALE}
            about["seed"] = self.cfg.FEATURES.SEED
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]

    def table(self, files, views):
        """-> FeatureTable of these image files.

        Raises UserError naming the images that cannot be read, unless DATASET.SKIP_BAD_IMAGES: then they have no view
        and are among `unreadable`.
        """
        files = list(dict.fromkeys(files))
        paths = [self.relative(file) for file in files]
        tensors = self.tensors_of(files, paths, views)
        table = FeatureTable(tensors["features"], tensors["offsets"], paths)
        unreadable = table.unreadable
        self._note({file for file, path in zip(files, paths) if path in unreadable})
        return table

    def tensors_of(self, files, paths, views):
        """What `encode` gives of these image files, from the cache where it verifies, else encoded now (and cached)."""
        cached = self.folder / f"{self.key(files, paths, views)}.safetensors"
        tensors = _verified(cached)
        if tensors is None:
            # workers are seeded from torch's generator; a cold cache must not change a run
            with preserved_randomness():
                tensors = self._encode(files, paths, views, cached)
        return tensors

    def _todo(self, files, paths, views):
        transform = transforms.build_transform(self.cfg, is_train=views > 0)
        return Views(files, paths, transform, views, self.cfg.FEATURES.SEED)

    def _note(self, unreadable):
        """The images without features, at every use of them: those in the cache too were once skipped."""
        if unreadable and not self.cfg.DATASET.SKIP_BAD_IMAGES:
            raise UserError(
                f"{len(unreadable)} of the images cannot be read: {first_five(sorted(unreadable))}. Replace them, or "
                "set DATASET.SKIP_BAD_IMAGES True to leave them out"
            )
        self.unreadable |= unreadable

    def _encode(self, files, paths, views, cached):
        """Encodes part after part; under torchrun, this process takes every WORLD_SIZE-th part and rank 0 joins them.

        Other processes that want the same images wait and find them in the cache.
        """
        rank, world = rank_and_world()
        what = f"{len(files)} images ({f'{views} random views' if views else 'plain view'}, {self.backbone.name})"
        with locked(f"{cached}.lock{rank}", f"another process is encoding {what}; waiting for it"):
            tensors = _verified(cached)
            if tensors is not None:
                return tensors
            if rank == 0 and cached.exists():
                print(f"{cached} is damaged: encoding again")
                cached.unlink()
            parts = cached.with_suffix(".parts")
            starts = range(0, max(len(files), 1), PART)
            chunks = {parts / f"{i // PART:05d}.safetensors": slice(i, i + PART) for i in starts}
            mine = dict(list(chunks.items())[rank::world])
            count = sum(len(files[chunk]) for chunk in mine.values())
            with tqdm(total=count, desc=f"encoding {what}", unit="img") as bar:
                for part, chunk in mine.items():
                    if _verified(part) is None:
                        todo = self._todo(files[chunk], paths[chunk], views)
                        write_bank(part, encode(self.backbone, todo, self.cfg.DATALOADER.NUM_WORKERS, bar), {})
                    else:
                        bar.update(len(files[chunk]))
            if rank:
                return _wait_for(cached)
            tables = [FeatureTable(**_wait_for(part), paths=paths[chunk]) for part, chunk in chunks.items()]
            joined = FeatureTable.join(tables)  # read and written block by block: memory stays flat
            write_bank(cached, {"features": joined.features, "offsets": joined.offsets}, {})
            shutil.rmtree(parts, ignore_errors=True)
            return open_bank(cached)[0]


class TunedImages(ImageStore):
    """The same through an image tower that a method tunes, `encode_image(images)`: nothing of it is cached, and it is
    not rounded to half precision."""

    def __init__(self, cfg, backbone, image_dir, views, encode_image):
        super().__init__(cfg, backbone, image_dir, views)
        self.encode_image = encode_image

    def tensors_of(self, files, paths, views):
        with preserved_randomness():
            todo, workers = self._todo(files, paths, views), self.cfg.DATALOADER.NUM_WORKERS
            with tqdm(total=len(files), desc="encoding with the tuned tower", unit="img", delay=5, leave=False) as bar:
                return encode(self.backbone, todo, workers, bar, self.encode_image, torch.float32)


def _verified(bank):
    """The tensors of a bank, features to be read when they are used; None where it is missing or damaged."""
    try:
        tensors = open_bank(bank)[0]
        for rows in blocks(len(tensors["features"])):
            tensors["features"][rows]  # raises where a row does not verify
    except UserError:
        return None
    return tensors


def _wait_for(bank):
    """The tensors of a file, which another rank of this job may be writing."""
    waits = 0
    while (tensors := _verified(bank)) is None:
        waits += 1
        if waits == SILENCE / PAUSE:
            print(f"waiting for another process of torchrun to write {bank}", flush=True)
        time.sleep(PAUSE)
    return tensors
