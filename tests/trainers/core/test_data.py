"""Feature sets, their loader, and what a partial last batch is to whom."""

import pytest
import torch
import torch.nn.functional as F
from plain import unit
from runs import Recorded, argv

import train
from trainers.core.data import FeatureLoader, FeatureSet, FeatureTable
from trainers.generative.frameworks import VAE


def feature_set():
    """Three images with 1, 3 and 2 views."""
    return FeatureSet(unit(6, 4), torch.tensor([0, 1, 4, 6]), torch.tensor([5, 6, 7]))


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


def test_joined_tables_are_read_row_by_row_and_in_any_order():
    tables = [
        FeatureTable(torch.arange(3.0)[:, None], torch.tensor([0, 1, 3]), ["a", "b"]),
        FeatureTable(torch.arange(3.0, 6)[:, None], torch.tensor([0, 0, 3]), ["c", "d"]),
    ]
    table = FeatureTable.join(tables)
    assert table.find(["d", "a", "x"]) == {"a": 0, "d": 3} and table.unreadable == {"c"}
    images = table.take([0, 3, 2], [7, 8, 9])
    assert images.features.flatten().tolist() == [0, 3, 4, 5] and images.offsets.tolist() == [0, 1, 4]
    assert images.labels.tolist() == [7, 8]


def test_the_loader_drops_a_partial_batch_only_where_asked_and_after_a_full_one():
    for count, drop_last, sizes in ((10, True, [4, 4]), (10, False, [4, 4, 2]), (3, True, [3]), (8, True, [4, 4])):
        images = FeatureSet(torch.eye(count), torch.arange(count + 1), torch.arange(count))
        batches = list(FeatureLoader(images, 4, drop_last))
        assert [len(batch["label"].unique()) for batch in batches] == sizes
        assert all(torch.equal(batch["features"].argmax(1), batch["label"]) for batch in batches)


@pytest.mark.parametrize("trainer, sizes", [("Tip_Adapter_F", [6, 6, 4]), ("CoOp", [6, 6])])
def test_who_keeps_the_last_batch_through_the_command_line(tiny_bank, tmp_path, monkeypatch, trainer, sizes):
    """16 images in batches of 6: Tip-Adapter's released loader has three of them, Dassl's two."""
    options = "DATALOADER.TRAIN_X.BATCH_SIZE", 6, "OPTIM.MAX_EPOCH", 1
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, trainer, *options))
    assert [len(step.labels) for step in run.steps] == sizes


def test_the_generator_learns_from_every_image(tiny_bank, tmp_path, monkeypatch):
    sizes, step = [], VAE.step
    monkeypatch.setattr(VAE, "step", lambda self, x, *more: sizes.append(len(x)) or step(self, x, *more))
    train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP", "TRAINER.SHIP.BATCH_SIZE", 6, "TRAINER.SHIP.EPOCHS", 1))
    assert sizes == [6, 6, 4]
