"""Batches of images, read by worker processes."""

import signal

import torch
from dassl.data import transforms
from dassl.data.data_manager import DatasetWrapper
from dassl.data.samplers import build_sampler
from torch.utils.data import DataLoader

from .randomness import preserved_randomness, seed_all


class AugmentedImages(DatasetWrapper):
    """Dassl's, with augmentations that depend on `epoch_seed` and the image alone, not on who reads it."""

    epoch_seed = 0

    def __getitem__(self, idx):
        with preserved_randomness():
            seed_all(self.epoch_seed, "augmentation", idx)
            return super().__getitem__(idx)


class ImageLoader(DataLoader):
    """Batches of `items` (Datum), augmented on the fly as CoOp does: {"img": [B, 3, H, W], "label": [B], ...}. What an
    epoch draws comes from torch's global generator, and is the same for any number of workers."""

    def __init__(self, cfg, items):
        c = cfg.DATALOADER.TRAIN_X
        transform = transforms.build_transform(cfg, is_train=True)
        super().__init__(
            AugmentedImages(cfg, items, transform=transform, is_train=True),
            num_workers=cfg.DATALOADER.NUM_WORKERS,
            worker_init_fn=leave_signals,
            batch_size=c.BATCH_SIZE,
            sampler=build_sampler(c.SAMPLER, cfg, items, c.BATCH_SIZE, c.N_DOMAIN, c.N_INS),
            drop_last=c.DROP_LAST and len(items) >= c.BATCH_SIZE,
            pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
        )

    def __iter__(self):
        self.dataset.epoch_seed = int(torch.randint(2**31, ()))  # before the workers are forked
        return super().__iter__()


def leave_signals(worker):
    """First thing in a worker: Ctrl-C reaches it too, but its parent ends it; what train.py does at a signal, it does
    not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
