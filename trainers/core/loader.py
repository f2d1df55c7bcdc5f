"""Batches of features, with Dassl's rules for batches of images."""

import torch


class FeatureLoader:
    """Iterates over a FeatureSet in random order, one random view per image and epoch, by torch's global generator.

    Yields {"features": [B, d], "label": [B]}. The last partial batch is dropped if and only if there is at least one
    full batch (Dassl's rule).
    """

    def __init__(self, features, batch_size):
        self.features, self.batch_size = features, batch_size

    def __len__(self):
        return max(len(self.features) // self.batch_size, 1)

    def __iter__(self):
        order = torch.randperm(len(self.features))
        for i in range(len(self)):
            index = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield {
                "features": self.features.draw(index),
                "label": self.features.labels[index.to(self.features.labels.device)],
            }
