"""Synthetic features made ahead: the draws of a batch do not depend on how many are made together."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from tiny_data import NAMES
from torch import nn

from trainers.core.data import FeatureLoader, FeatureSet
from trainers.core.model.prompts import ClassTokens
from trainers.generative.generator import PromptGenerator
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
    synthesizer = Synthesizer(Copies(), Classes("abc"), 2)
    images = FeatureSet(torch.randn(22, 4), torch.arange(0, 23, 2), torch.arange(11) % 2)
    return SimpleNamespace(synthesizer=synthesizer, loader=FeatureLoader(images, 4, drop_last=False))


@pytest.mark.parametrize("rows, passes", [(1, [4, 4, 3]), (8, [8, 3]), (100, [11])])
def test_the_draws_are_those_of_each_batch_alone(parts, rows, passes):
    synthesizer = parts.synthesizer
    torch.manual_seed(3)
    found = list(Extended(parts.loader, synthesizer, rows, lambda batch: len(batch["label"])))
    assert synthesizer.generator.passes == passes
    torch.manual_seed(3)
    for ours, batch in zip(found, parts.loader, strict=True):  # each batch drawn where it is used
        labels = torch.randint(3, (len(batch["label"]),))
        batch |= {"synthetic": synthesizer.features(labels), "synthetic_label": labels + 2}
        assert ours.keys() == batch.keys() and all(torch.equal(ours[key], batch[key]) for key in ours)


def test_batches_without_images(parts):
    drawn = []
    for rows in (1, 12):
        torch.manual_seed(4)
        batches = list(SyntheticLoader(parts.synthesizer, 5, per_class=5, rows=rows))
        assert [len(batch["features"]) for batch in batches] == [5, 5, 5]
        drawn.append(torch.cat([torch.cat([batch["features"], batch["label"][:, None]], 1) for batch in batches]))
    assert torch.equal(*drawn) and drawn[0][:, -1].min() >= 2


def test_labels_are_uniform_and_features_those_of_their_class(miniclip_backbone):
    torch.manual_seed(0)
    generator = PromptGenerator(miniclip_backbone, 4, 6, 10).requires_grad_(False)
    synthesizer = Synthesizer(generator, ClassTokens(NAMES[:3], miniclip_backbone, n_ctx=4), first_label=10)
    (batch,) = SyntheticLoader(synthesizer, 600, 200, rows=1)
    features, labels = batch["features"], batch["label"]
    assert labels.unique().tolist() == [10, 11, 12] and min(labels.bincount()[10:]) > 150
    assert not features.requires_grad and features.std(0).max() > 0
    balanced = synthesizer.balanced(5)
    assert balanced.labels.tolist() == [10] * 5 + [11] * 5 + [12] * 5 and balanced.views.tolist() == [1] * 15
    own = F.normalize(balanced.features.view(3, 5, -1).mean(1), dim=-1)
    assert (F.normalize(features, dim=-1) @ own.t()).argmax(1).eq(labels - 10).float().mean() > 0.9
