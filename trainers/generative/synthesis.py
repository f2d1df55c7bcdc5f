"""Draws labelled synthetic features of label-only classes (paper section 3.3)."""

from collections.abc import Iterable, Iterator
from itertools import repeat

import torch

from ..core.features.feature_set import FeatureSet
from ..core.features.loader import batches
from ..core.moving import moved

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
        z = moved(torch.randn(len(labels), self.generator.latent_dim) if z is None else z, self.device)
        parts = [slice(i, i + CHUNK) for i in range(0, len(labels), CHUNK)]
        return torch.cat([self.generator(z[part], labels[part], self.classes) for part in parts])

    def balanced(self, per_class):
        """`per_class` features of every class -> FeatureSet, one view each."""
        labels = torch.arange(len(self.classes)).repeat_interleave(per_class)
        offsets = torch.arange(len(labels) + 1, device=self.device)
        return FeatureSet(self.features(labels), offsets, moved(labels + self.first_label, self.device))


def with_synthetic(given: Iterable[tuple[dict, list]], rows: int) -> Iterator[dict]:
    """Batches, each with "made" [M, d] and "made_label" [M] beside what it has.

    `given` are (batch, [(Synthesizer, how many features of it)]). Each batch draws its labels and z when its turn
    comes, whatever `rows` is; the generator then runs once for as many batches as have `rows` features together.
    """
    waiting = []
    for batch, sizes in given:
        waiting.append((batch, [(by, *by.draw(size)) for by, size in sizes if size]))
        if sum(len(labels) for _, draws in waiting for _, labels, _ in draws) >= rows:
            yield from _made(waiting)
            waiting = []
    yield from _made(waiting)


def _made(waiting):
    """One pass of each generator over all that it shall make for the batches `waiting`."""
    rows = {}
    for by in dict.fromkeys(by for _, draws in waiting for by, _, _ in draws):
        own = [draw[1:] for _, draws in waiting for draw in draws if draw[0] is by]
        labels, z = (torch.cat(parts) for parts in zip(*own, strict=True))
        sizes = [len(part) for part, _ in own]
        shown = moved(labels + by.first_label, by.device)
        rows[by] = zip(by.features(labels, z).split(sizes), shown.split(sizes), strict=True)
    for batch, draws in waiting:
        features, labels = zip(*(next(rows[by]) for by, _, _ in draws), strict=True)
        yield {**batch, "made": torch.cat(features), "made_label": torch.cat(labels)}


class Extended:
    """The batches of `loader`, each with as many synthetic features as it has labels; `sizes(count)` says of whom."""

    def __init__(self, loader, sizes, rows):
        self.loader, self.sizes, self.rows = loader, sizes, rows

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        return with_synthetic(((batch, self.sizes(len(batch["label"]))) for batch in self.loader), self.rows)


class SyntheticLoader:
    """Batches of synthetic features alone, {"features": [B, d], "label": [B]}: an epoch has as many as one over
    `per_class` features of each class."""

    def __init__(self, synthesizer, batch_size, per_class, rows, drop_last=True):
        self.synthesizer, self.batch_size, self.rows = synthesizer, batch_size, rows
        self.batches = batches(len(synthesizer.classes) * per_class, batch_size, drop_last)

    def __len__(self):
        return self.batches

    def __iter__(self):
        each = ({}, [(self.synthesizer, self.batch_size)])
        for batch in with_synthetic(repeat(each, self.batches), self.rows):
            yield {"features": batch["made"], "label": batch["made_label"]}
