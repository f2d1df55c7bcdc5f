"""Batches of features, and of images, by the same rules."""

import torch
from dassl.data.data_manager import DatasetWrapper
from dassl.data.samplers import build_sampler
from dassl.data.transforms import build_transform

from ..moving import moved
from .workers import image_batches


def batches(count, batch_size, drop_last):
    """How many batches an epoch over `count` items has. With `drop_last` a last partial batch is left out, unless it
    is the only one: Dassl's rule, which not all published code follows."""
    return max(count // batch_size, 1) if drop_last else -(-count // batch_size)


class FeatureLoader:
    """Iterates over a FeatureSet in random order, one random view per image and epoch, by torch's global generator.

    Yields {"features": [B, d], "label": [B]}.
    """

    def __init__(self, features, batch_size, drop_last=True):
        self.features, self.batch_size, self.drop_last = features, batch_size, drop_last

    def __len__(self):
        return batches(len(self.features), self.batch_size, self.drop_last)

    def __iter__(self):
        order = torch.randperm(len(self.features))
        for index in order.split(self.batch_size)[: len(self)]:
            yield {
                "features": self.features.draw(index),
                "label": self.features.labels[moved(index, self.features.labels.device)],
            }


def image_loader(cfg, items):
    """Batches of `items` (Datum), augmented on the fly as CoOp does: {"img": [B, 3, H, W], "label": [B], ...}."""
    c = cfg.DATALOADER.TRAIN_X
    dataset = DatasetWrapper(cfg, items, transform=build_transform(cfg, is_train=True), is_train=True)
    return image_batches(
        dataset,
        cfg.DATALOADER.NUM_WORKERS,
        shared_bytes=c.BATCH_SIZE * 3 * cfg.INPUT.SIZE[0] * cfg.INPUT.SIZE[1] * 4,
        batch_size=c.BATCH_SIZE,
        sampler=build_sampler(c.SAMPLER, cfg, items, c.BATCH_SIZE, c.N_DOMAIN, c.N_INS),
        drop_last=c.DROP_LAST and len(items) >= c.BATCH_SIZE,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
    )
