"""Draws labelled synthetic features of label-only classes (paper section 3.3)."""

import torch

from ..core.features.feature_set import FeatureSet
from ..core.features.loader import batches

CHUNK = 512  # features per pass through the text encoder
SHOTS = 16  # the paper's: what an epoch without real images takes for a class, where the run does not say


class Synthesizer:
    """Features of `classes` (a ClassTokens) from a trained generator; labels start at `first_label`."""

    def __init__(self, generator, classes, first_label):
        self.generator, self.classes, self.first_label = generator, classes, first_label

    @torch.no_grad()
    def features(self, labels):
        """One feature for each of `labels` [B] (0-based among these classes), z from N(0, I) -> [B, d], unit norm."""
        z = torch.randn(len(labels), self.generator.latent_dim).to(labels.device)
        parts = [slice(i, i + CHUNK) for i in range(0, len(labels), CHUNK)]
        return torch.cat([self.generator(z[part], labels[part], self.classes) for part in parts])

    def batch(self, size, device):
        """`size` features with labels uniform over the classes -> (features [B, d], labels [B])."""
        labels = torch.randint(len(self.classes), (size,)).to(device)
        return self.features(labels), labels + self.first_label

    def balanced(self, per_class, device):
        """`per_class` features of every class -> FeatureSet, one view each."""
        labels = torch.arange(len(self.classes), device=device).repeat_interleave(per_class)
        offsets = torch.arange(len(labels) + 1, device=device)
        return FeatureSet(self.features(labels), offsets, labels + self.first_label)


class SyntheticLoader:
    """Batches of synthetic features alone, {"features": [B, d], "label": [B]}: an epoch has as many as one over
    `per_class` features of each class."""

    def __init__(self, synthesizer, batch_size, per_class, device, drop_last=True):
        self.synthesizer, self.batch_size, self.device = synthesizer, batch_size, device
        self.batches = batches(len(synthesizer.classes) * per_class, batch_size, drop_last)

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            features, labels = self.synthesizer.batch(self.batch_size, self.device)
            yield {"features": features, "label": labels}
