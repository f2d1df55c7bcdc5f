"""Synthetic features made ahead: the draws of a batch do not depend on how many are made together."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from trainers.core.data import FeatureSet
from trainers.core.data import FeatureLoader

from trainers.generative.synthesis import Extended, Synthesizer, SyntheticLoader


class Copies(nn.Module):
    """A generator whose feature is z and the label; notes how many rows each pass has."""

    latent_dim = 3

    def __init__(self):
        super().__init__()
        self.passes = []

    def forward(self, z, labels, classes):
        self.passes.append(len(z))
        return torch.cat([z, labels[:, None]], 1)


class Classes(list):
    embedding = torch.zeros(1)


@pytest.fixture
def parts():
    generator = Copies()
    new, base = Synthesizer(generator, Classes("abc"), 2), Synthesizer(generator, Classes("xy"), 0)
    found = FeatureSet(torch.randn(22, 4), torch.arange(0, 23, 2), torch.arange(11) % 2)
    return SimpleNamespace(generator=generator, new=new, base=base, loader=FeatureLoader(found, 4, drop_last=False))


def epoch(parts, rows):
    torch.manual_seed(3)
    parts.generator.passes.clear()
    return list(Extended(parts.loader, lambda count: [(parts.new, count - 1), (parts.base, 1)], rows))


def plain_epoch(parts):
    """Each batch drawn where it is used."""
    torch.manual_seed(3)
    for batch in parts.loader:
        rows = []
        for by, size in ((parts.new, len(batch["label"]) - 1), (parts.base, 1)):
            labels = torch.randint(len(by.classes), (size,))
            rows.append((by.features(labels), labels + by.first_label))
        features, labels = map(torch.cat, zip(*rows, strict=True))
        yield {**batch, "made": features, "made_label": labels}


@pytest.mark.parametrize("rows", [1, 8, 100])
def test_the_draws_are_those_of_each_batch_alone(parts, rows):
    found, expected = epoch(parts, rows), list(plain_epoch(parts))
    assert len(found) == len(expected) == len(parts.loader) == 3
    for ours, plain in zip(found, expected, strict=True):
        assert ours.keys() == plain.keys() and all(torch.equal(ours[key], plain[key]) for key in ours)


def test_few_passes_make_an_epoch(parts):
    epoch(parts, 1)
    assert parts.generator.passes == [3, 1, 3, 1, 2, 1]
    epoch(parts, 8)
    assert parts.generator.passes == [6, 2, 2, 1]


def test_every_batch_has_features_of_its_own_labels(parts):
    for batch in epoch(parts, 100):
        of_new = batch["made_label"] >= 2
        assert of_new.tolist() == [True] * (len(batch["label"]) - 1) + [False]
        assert torch.equal(batch["made"][:, 3].long(), batch["made_label"] - 2 * of_new)


def test_batches_without_images(parts):
    drawn = []
    for rows in (1, 12):
        torch.manual_seed(4)
        batches = list(SyntheticLoader(parts.new, 5, per_class=5, rows=rows))
        assert [len(batch["features"]) for batch in batches] == [5, 5, 5]
        drawn.append(torch.cat([torch.cat([batch["features"], batch["label"][:, None]], 1) for batch in batches]))
    assert torch.equal(*drawn) and drawn[0][:, -1].min() >= 2
