"""From image files to features: read by worker processes, encoded in parts that survive an interruption, by one or many
processes (torchrun), and cached.

View k of an image is seeded by its relative path, k and FEATURES.SEED alone, so it does not depend on the run, the
order or the number of processes.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from dassl.data import transforms
from dassl.utils import read_image
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from .bank import blocks, open_bank, write_bank
from .contents import content_hashes
from .data import VIEWS_BESIDE_IMAGES, FeatureTable, Store
from .files import UserError, first_five, locked
from .randomness import preserved_randomness, seed_all
from .workers import leave_signals

BATCH = {"cpu": 4, "cuda": 256}  # images an encoder pass; a CPU is fastest where activations stay in its cache


class Views(Dataset):
    """Image i -> (array [V, 3, H, W], ""); an unreadable image gives ((), its error message).

    Arrays, because workers send them through a pipe. Tensors go through shared memory, and where that is full the
    worker's error reaches nobody.
    """

    def __init__(self, sources, names, transform, views, seed):
        """`sources`: paths, PIL images or arrays. `names`: what the views of each are drawn by, else its content."""
        self.sources, self.names, self.transform, self.views, self.seed = sources, names, transform, views, seed

    def __len__(self):
        return len(self.sources)

    def __getitem__(self, i):
        try:
            image = read(self.sources[i])
        except Exception as error:  # whatever a broken file makes a decoder raise
            return (), str(error)
        name = self.names[i] if self.names else hashlib.sha256(image.tobytes()).hexdigest()
        views = []
        with preserved_randomness():
            for k in range(max(self.views, 1)):  # the plain view draws nothing
                seed_all(name, k, self.seed)
                views.append(self.transform(image))
        return torch.stack(views).numpy(), ""


def read(source):
    """A path, PIL image or array [H, W, 3] -> an RGB PIL image."""
    if isinstance(source, str):
        return read_image(source)
    return Image.fromarray(np.ascontiguousarray(source)) if isinstance(source, np.ndarray) else source.convert("RGB")


class EncodingStore(Store):
    """Features of images that are encoded when they are first asked for. Nothing is written."""

    named = True  # whether the views of an image are drawn by its path, else by its content
    hides_bars: bool | None = None  # True: no progress bars; None: on a terminal

    def __init__(self, cfg, backbone):
        super().__init__(cfg.FEATURES.VIEWS or VIEWS_BESIDE_IMAGES)
        self.cfg, self.backbone = cfg, backbone

    def source(self, file):
        """What is read: a path, a PIL image or an array."""
        return file

    def table(self, files, views):
        span = {"total": len(files), "unit": "img", "leave": False, "disable": self.hides_bars}
        with preserved_randomness(), tqdm(desc="encoding", **span) as bar:
            return FeatureTable(**self.encode(files, views, bar), paths=map(self.relative, files))

    @torch.no_grad()
    def encode(self, files, views, bar):
        """-> {"features" [R, d], "offsets" [N + 1]} of N images; an unreadable one has no row, and is named in a line.
        The progress bar `bar` moves with each batch. Features of an image tower that a method tunes (`encode_image`)
        are not rounded to half precision."""
        backbone, tuned, paths = self.backbone, self.encode_image, [self.relative(file) for file in files]
        device, dtype = backbone.logit_scale.device, torch.float32 if tuned else torch.float16
        transform = transforms.build_transform(self.cfg, is_train=views > 0)
        sources = [self.source(file) for file in files]
        images = Views(sources, paths if self.named else None, transform, views, self.cfg.FEATURES.SEED)
        size = max(1, BATCH.get(device.type, 64) // max(views, 1))
        features, counts = [], [0]
        workers = {"num_workers": self.cfg.DATALOADER.NUM_WORKERS, "worker_init_fn": leave_signals}
        for batch in DataLoader(images, size, collate_fn=list, **workers):
            for arrays, reason in batch:
                if reason:
                    self.faults[paths[len(counts) - 1]] = reason
                    print(f"unreadable: {reason}")
                counts.append(len(arrays))
            good = [torch.from_numpy(arrays) for arrays, reason in batch if not reason]
            if good:
                pixels = torch.cat(good).to(device, backbone.dtype, memory_format=torch.channels_last)
                features.append((tuned or backbone.encode_image)(pixels).to("cpu", dtype))
            bar.update(len(batch))
        none = torch.empty(0, backbone.embed_dim, dtype=dtype)
        return {"features": torch.cat(features) if features else none, "offsets": torch.tensor(counts).cumsum(0)}


PART = 256  # images; what an interruption can cost


class ImageStore(EncodingStore):
    """Features of images on disk, through the cache; those of a tuned tower are not cached."""

    def __init__(self, cfg, backbone, image_dir):
        super().__init__(cfg, backbone)
        self.image_dir, self.folder = image_dir, Path(cfg.FEATURES.DIR)

    def relative(self, file):
        path = os.path.relpath(file, self.image_dir) if self.image_dir else file
        return file if path.startswith("..") else path.replace(os.sep, "/")

    def table(self, files, views):
        """Raises UserError naming the images that cannot be read, unless DATASET.SKIP_BAD_IMAGES: then they have no
        view."""
        with preserved_randomness():  # workers are seeded from torch's generator; a cold cache must not change a run
            table = super().table(files, views) if self.encode_image else self._cached(files, views)
        bad = sorted(table.unreadable)
        if bad and not self.cfg.DATASET.SKIP_BAD_IMAGES:
            raise UserError(
                f"{len(bad)} of the images cannot be read: {first_five(bad)}. Replace them, or set "
                "DATASET.SKIP_BAD_IMAGES True"
            )
        return table

    def key(self, files, views):
        """Hash of everything that the features of these images depend on."""
        options = self.cfg.INPUT
        about = {
            "backbone": self.backbone.weights_hash,
            "preprocessing": [options.SIZE, options.INTERPOLATION, options.PIXEL_MEAN, options.PIXEL_STD],
            "views": views,
            "dtype": str(self.backbone.dtype),
            "images": list(zip(map(self.relative, files), content_hashes(files, self.folder))),
        }
        if views:
            about |= {"transforms": options.TRANSFORMS, "rrcrop_scale": options.RRCROP_SCALE}
            about["seed"] = self.cfg.FEATURES.SEED
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]

    def _cached(self, files, views):
        """Of the cache where it verifies, else encoded part after part; under torchrun, this process takes every n-th
        part and rank 0 joins them. Other processes that want the same images wait and find them in the cache."""
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        cached = self.folder / f"{self.key(files, views)}.safetensors"
        what = f"{len(files)} images ({f'{views} random views' if views else 'plain view'}, {self.backbone.name})"
        with locked(f"{cached}.lock{rank}", f"another process is encoding {what}; waiting for it"):
            if tensors := _verified(cached):
                return FeatureTable(**tensors, paths=map(self.relative, files))
            if cached.exists():
                print(f"{cached} is damaged: encoding again")
            chunks = [files[i : i + PART] for i in range(0, max(len(files), 1), PART)]
            parts = [cached.with_suffix(".parts") / f"{i:05d}.safetensors" for i in range(len(chunks))]
            todo = [(part, images) for part, images in list(zip(parts, chunks))[rank::world] if not part.exists()]
            with tqdm(total=sum(len(images) for _, images in todo), desc=f"encoding {what}", unit="img") as bar:
                for part, images in todo:
                    write_bank(part, self.encode(images, views, bar), {})
            barrier()
            if rank == 0:
                joined = FeatureTable.join([FeatureTable(**open_bank(part)[0], paths=()) for part in parts])
                # read and written block by block: memory stays flat
                write_bank(cached, {"features": joined.features, "offsets": joined.offsets}, {})
                shutil.rmtree(cached.with_suffix(".parts"))
            barrier()
            return FeatureTable(**open_bank(cached)[0], paths=map(self.relative, files))


def barrier():
    """Waits for the other processes of torchrun."""
    if dist.is_initialized():
        dist.barrier()


def _verified(bank):
    """The tensors of a bank, features to be read when they are used; None where it is missing or damaged."""
    try:
        tensors = open_bank(bank)[0]
        for rows in blocks(len(tensors["features"])):
            tensors["features"][rows]  # raises where a row does not verify
    except UserError:
        return None
    return tensors
