"""Feature sets and their loader."""

import pytest
import torch
import torch.nn.functional as F

from trainers.core.data import FeatureLoader, FeatureSet, FeatureTable


def feature_set():
    """Three images with 1, 3 and 2 views."""
    features = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    return FeatureSet(features, torch.tensor([0, 1, 4, 6]), torch.tensor([5, 6, 7]))


def test_draw_gives_each_view_of_the_right_image():
    images = feature_set()
    seen = {0: set(), 1: set(), 2: set()}
    for _ in range(200):
        for image, row in enumerate(images.draw(torch.arange(3))):
            seen[image].add(int((images.features == row).all(1).nonzero()))
    assert seen == {0: {0}, 1: {1, 2, 3}, 2: {4, 5}}


def test_mean_select_join():
    images = feature_set()
    assert torch.allclose(images.mean()[1], F.normalize(images.features[1:4].mean(0), dim=0))
    chosen = images.select([2, 0])
    assert torch.equal(chosen.features, images.features[[4, 5, 0]]) and chosen.labels.tolist() == [7, 5]
    both = FeatureSet.join([chosen, FeatureSet(images.features, images.offsets, images.labels + 10)])
    assert both.views.tolist() == [2, 1, 1, 3, 2] and both.labels.tolist() == [7, 5, 15, 16, 17]
    assert torch.equal(both.mean()[3], images.mean()[1])


def test_images_without_views_are_left_out():
    table = FeatureTable(torch.eye(3), torch.tensor([0, 1, 1, 3]), ["a", "b", "c"])
    found = table.lookup(["c", "b", "a"], [2, 1, 0])
    assert found.labels.tolist() == [2, 0] and found.views.tolist() == [2, 1]


@pytest.mark.parametrize("images, batch, batches", [(10, 4, 2), (3, 4, 1), (8, 4, 2), (4, 4, 1)])
def test_loader_drops_the_partial_batch_only_after_a_full_one(images, batch, batches):
    features = FeatureSet(torch.eye(images), torch.arange(images + 1), torch.arange(images))
    found = list(FeatureLoader(features, batch))
    assert len(found) == batches and [len(b["label"]) for b in found] == [min(batch, images)] * batches
    labels = torch.cat([b["label"] for b in found])
    assert len(labels.unique()) == len(labels)
    assert all(torch.equal(b["features"].argmax(1), b["label"]) for b in found)
