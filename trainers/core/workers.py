"""Batches of images, read by worker processes; and the processes that torchrun started beside this one."""

import ctypes
import functools
import os
import signal
import sys

import torch
from dassl.data import transforms
from dassl.data.data_manager import DatasetWrapper
from dassl.data.samplers import build_sampler
from torch.utils.data import DataLoader

from .files import UserError
from .randomness import preserved_randomness, seed_all

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]

SHARED_MEMORY = "/dev/shm"
PREFETCHED = 2  # batches that each worker prepares ahead: PyTorch's default
SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of Linux


class AugmentedImages(DatasetWrapper):
    """Dassl's, with augmentations that depend on `epoch_seed` and the image alone, not on who reads it."""

    epoch_seed = 0

    def __getitem__(self, idx):
        with preserved_randomness():
            seed_all(self.epoch_seed, "augmentation", idx)
            return super().__getitem__(idx)


class ImageLoader:
    """Batches of `items` (Datum), augmented on the fly as CoOp does: {"img": [B, 3, H, W], "label": [B], ...}. What an
    epoch draws comes from torch's global generator, and is the same for any number of workers."""

    def __init__(self, cfg, items):
        c = cfg.DATALOADER.TRAIN_X
        self.images = AugmentedImages(
            cfg, items, transform=transforms.build_transform(cfg, is_train=True), is_train=True
        )
        self.loader = image_batches(
            self.images,
            cfg.DATALOADER.NUM_WORKERS,
            shared_bytes=c.BATCH_SIZE * 3 * cfg.INPUT.SIZE[0] * cfg.INPUT.SIZE[1] * 4,
            batch_size=c.BATCH_SIZE,
            sampler=build_sampler(c.SAMPLER, cfg, items, c.BATCH_SIZE, c.N_DOMAIN, c.N_INS),
            drop_last=c.DROP_LAST and len(items) >= c.BATCH_SIZE,
            pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
        )

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        self.images.epoch_seed = int(torch.randint(2**31, ()))  # before the workers are forked
        return iter(self.loader)


def image_batches(dataset, workers, shared_bytes=0, **options):
    """DataLoader whose `workers` processes end with this one. `shared_bytes`: what a batch takes of shared memory.

    Without room in shared memory they would wait for ever, so this process then reads the images itself.
    """
    if workers and not _room(workers * PREFETCHED * shared_bytes, shared_bytes):
        print(f"{SHARED_MEMORY} has no room for {workers} processes that read images: reading them in this one")
        workers = 0
    ends = functools.partial(_end_with_parent, os.getpid()) if workers else None
    return DataLoader(dataset, num_workers=workers, worker_init_fn=ends, **options)


def _room(needed, of_a_file):
    """Whether shared memory has more than `needed` bytes free, and a file may have more than `of_a_file`."""
    if resource is None or not os.path.isdir(SHARED_MEMORY):
        return True
    found, limit = os.statvfs(SHARED_MEMORY), resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return found.f_bavail * found.f_frsize > needed and (limit == resource.RLIM_INFINITY or limit > of_a_file)


def _end_with_parent(parent, _):
    """First thing in a worker. Elsewhere than on Linux PyTorch looks after a dead parent, every few seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the workers too; the parent ends them
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SIGNAL_AT_PARENTS_DEATH, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it could be asked for
            os._exit(1)


def rank_and_world():
    """(rank, number of processes) under torchrun; (0, 1) for a process on its own. Raises UserError where only half of
    it is set: it would wait for processes that are not there."""
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    are_numbers = rank.isdecimal() and world.isdecimal()
    if not are_numbers or int(rank) >= int(world) or (int(world) > 1 and "RANK" not in os.environ):
        raise UserError(
            f"expected RANK and WORLD_SIZE as torchrun sets them, found RANK {rank}, WORLD_SIZE {world}: start with "
            "torchrun --nproc-per-node N, or unset both"
        )
    return int(rank), int(world)
