"""Draws labelled synthetic features of label-only classes (paper section 3.3)."""

import torch

from ..core.data import FeatureSet, batches, to_device

CHUNK = 512  # features per pass through the text encoder


class Synthesizer:
    """Features of `classes` (a ClassTokens) from a trained generator; labels start at `first_label`."""

    def __init__(self, generator, classes, first_label=0):
        self.generator, self.classes, self.first_label = generator, classes, first_label
        self.device = classes.embedding.device

    @torch.no_grad()
    def features(self, labels, z=None):
        """One feature for each of `labels` [B] (0-based among these classes) and z [B, k], drawn here where it is not
        given -> [B, d], unit norm."""
        z = to_device(torch.randn(len(labels), self.generator.latent_dim) if z is None else z, self.device)
        parts = [slice(i, i + CHUNK) for i in range(0, len(labels), CHUNK)]
        return torch.cat([self.generator(z[part], labels[part], self.classes) for part in parts])

    def balanced(self, per_class):
        """`per_class` features of every class -> FeatureSet, one view each."""
        labels = torch.arange(len(self.classes)).repeat_interleave(per_class)
        offsets = torch.arange(len(labels) + 1, device=self.device)
        return FeatureSet(self.features(labels), offsets, to_device(labels + self.first_label, self.device))


class Extended:
    """The batches of `loader`, each with "synthetic" [M, d] and "synthetic_label" [M] beside what it has, M being
    `size(batch)`.

    Each batch draws its labels, uniform over the classes, and z from N(0, I) when its turn comes, whatever `rows` is;
    the generator then runs once for as many batches as have `rows` features together.
    """

    def __init__(self, loader, synthesizer, rows, size):
        self.loader, self.synthesizer, self.rows, self.size = loader, synthesizer, rows, size

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        waiting, count, width = [], len(self.synthesizer.classes), self.synthesizer.generator.latent_dim
        for batch in self.loader:
            size = self.size(batch)
            waiting.append((batch, torch.randint(count, (size,)), torch.randn(size, width)))
            if sum(len(labels) for _, labels, _ in waiting) >= self.rows:
                yield from self.in_one_pass(waiting)
                waiting = []
        if waiting:
            yield from self.in_one_pass(waiting)

    def in_one_pass(self, waiting):
        loaded, labels, z = zip(*waiting, strict=True)
        sizes = [len(part) for part in labels]
        labels = torch.cat(labels)
        features = self.synthesizer.features(labels, torch.cat(z)).split(sizes)
        shown = to_device(labels + self.synthesizer.first_label, self.synthesizer.device).split(sizes)
        for batch, synthetic, label in zip(loaded, features, shown, strict=True):
            yield {**batch, "synthetic": synthetic, "synthetic_label": label}


class SyntheticLoader(Extended):
    """Batches of synthetic features alone, {"features": [B, d], "label": [B]}: an epoch has as many as one over
    `per_class` features of each class."""

    def __init__(self, synthesizer, batch_size, per_class, rows, drop_last=True):
        count = batches(len(synthesizer.classes) * per_class, batch_size, drop_last)
        super().__init__([{}] * count, synthesizer, rows, lambda batch: batch_size)

    def __iter__(self):
        for batch in super().__iter__():
            yield {"features": batch["synthetic"], "label": batch["synthetic_label"]}
