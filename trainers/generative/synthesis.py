"""Draws labelled synthetic features of label-only classes (paper section 3.3)."""

from collections.abc import Iterable, Iterator
from itertools import repeat

import torch

from ..core.data import FeatureSet, batches, to_device

CHUNK = 512  # features per pass through the text encoder
SHOTS = 16  # the paper's: what an epoch without real images takes for a class, where the run does not say


class Synthesizer:
    """Features of `classes` (a ClassTokens) from a trained generator; labels start at `first_label`."""

    def __init__(self, generator, classes, first_label):
        self.generator, self.classes, self.first_label = generator, classes, first_label
        self.device = classes.embedding.device

    def draw(self, size):
        """-> labels [size] (0-based) uniform over the classes and z [size, k] from N(0, I), both on the CPU."""
        return torch.randint(len(self.classes), (size,)), torch.randn(size, self.generator.latent_dim)

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


def with_synthetic(pairs: Iterable[tuple[dict, int]], synthesizer: Synthesizer, rows: int) -> Iterator[dict]:
    """Batches, each with "synthetic" [M, d] and "synthetic_label" [M] beside what it has; `pairs` are (batch, M).

    Each batch draws its labels and z when its turn comes, whatever `rows` is; the generator then runs once for as many
    batches as have `rows` features together.
    """
    waiting = []
    for batch, size in pairs:
        waiting.append((batch, *synthesizer.draw(size)))
        if sum(len(labels) for _, labels, _ in waiting) >= rows:
            yield from _in_one_pass(waiting, synthesizer)
            waiting = []
    if waiting:
        yield from _in_one_pass(waiting, synthesizer)


def _in_one_pass(waiting, synthesizer):
    batches, labels, z = zip(*waiting, strict=True)
    sizes = [len(part) for part in labels]
    labels = torch.cat(labels)
    features = synthesizer.features(labels, torch.cat(z)).split(sizes)
    shown = to_device(labels + synthesizer.first_label, synthesizer.device).split(sizes)
    for batch, synthetic, label in zip(batches, features, shown, strict=True):
        yield {**batch, "synthetic": synthetic, "synthetic_label": label}


class Extended:
    """The batches of `loader`, each with `share` synthetic features per label that it has, one at least."""

    def __init__(self, loader, synthesizer, rows, share=1.0):
        self.loader, self.synthesizer, self.rows, self.share = loader, synthesizer, rows, share

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        pairs = ((batch, max(round(self.share * len(batch["label"])), 1)) for batch in self.loader)
        return with_synthetic(pairs, self.synthesizer, self.rows)


class SyntheticLoader:
    """Batches of synthetic features alone, {"features": [B, d], "label": [B]}: an epoch has as many as one over
    `per_class` features of each class."""

    def __init__(self, synthesizer, batch_size, per_class, rows, drop_last=True):
        self.synthesizer, self.batch_size, self.rows = synthesizer, batch_size, rows
        self.batches = batches(len(synthesizer.classes) * per_class, batch_size, drop_last)

    def __len__(self):
        return self.batches

    def __iter__(self):
        for batch in with_synthetic(repeat(({}, self.batch_size), self.batches), self.synthesizer, self.rows):
            yield {"features": batch["synthetic"], "label": batch["synthetic_label"]}
