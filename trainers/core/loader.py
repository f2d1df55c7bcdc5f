"""Batches of features, with Dassl's rules for batches of images."""

import torch


def batches(count, batch_size, drop_last):
    """How many batches an epoch over `count` items has. With `drop_last` a last partial batch is left out, unless it
    is the only one: Dassl's rule. SHIP's and Tip-Adapter's released code keep it."""
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
        for i in range(len(self)):
            index = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield {
                "features": self.features.draw(index),
                "label": self.features.labels[index.to(self.features.labels.device)],
            }
