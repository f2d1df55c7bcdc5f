"""The images of a run: unreadable ones, batches augmented on the fly, and draws that do not depend on workers."""

import pytest
import torch
from PIL import Image
from runs import Recorded, argv, newest_state, open_data, results


@pytest.fixture(scope="module")
def coloured_images(tmp_path_factory):
    """Six classes of eight images that differ, in a folder a class."""
    root = tmp_path_factory.mktemp("images") / "animals"
    for i, name in enumerate(["ant", "crab", "dolphin", "elephant", "flamingo", "kangaroo"]):
        for j in range(8):
            file = root / name / f"{j}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40), (40 * i, 30 * j, 200 - 30 * i)).save(file)
    return root


def on_images(root, out, trainer, *options, task="base2new"):
    options = ["DATALOADER.NUM_WORKERS", "0", "FEATURES.DIR", out / "cache", *options]
    return ["--root", str(root), *argv("", out / "run", trainer, *options, task=task, dataset="imagefolder")]


def test_on_the_fly_what_trains_on_features_has_random_views(coloured_images, tmp_path, monkeypatch):
    """FEATURES.VIEWS 0: batches are of images; the generator gets stored random views, not centre crops."""
    args = on_images(
        coloured_images, tmp_path, "CoOp_SHIP", *"FEATURES.VIEWS 0 OPTIM.MAX_EPOCH 1 DATASET.NUM_SHOTS 1".split()
    )
    train_set = Recorded(monkeypatch, args).trainer.train_set
    assert train_set.views.tolist() == [16] * len(train_set)
    assert results(tmp_path / "run")["metrics"]["base"] >= 0


def test_the_number_of_workers_changes_no_weight(coloured_images, tmp_path, monkeypatch):
    """An image is augmented by seed, epoch and place in the list, whoever reads it."""
    contexts = []
    for workers in (0, 2):
        options = ["FEATURES.VIEWS", 0, "OPTIM.MAX_EPOCH", 2, "OPTIM.LR", 0.1, "OPTIM.WARMUP_EPOCH", -1]
        options += ["DATASET.NUM_SHOTS", 2, "DATALOADER.TRAIN_X.BATCH_SIZE", 3, "TEST.NO_TEST", "True"]
        out = tmp_path / str(workers)
        Recorded(monkeypatch, on_images(coloured_images, out, "CoOp", *options, "DATALOADER.NUM_WORKERS", workers))
        contexts.append(newest_state(out / "run")["ctx"])
    assert torch.equal(*contexts)


def test_an_unseeded_run_has_one_few_shot_draw(coloured_images, tmp_path):
    """The images that are augmented on the fly are those that the run's features are of."""
    args = on_images(coloured_images, tmp_path, "CoOp", "FEATURES.VIEWS", 0, "DATASET.NUM_SHOTS", 2)
    args[args.index("--seed") + 1] = "-1"
    trainer = open_data(args)
    drawn = {item.impath for item in trainer.dataset.train_x}
    batches = [path for batch in trainer.make_loader() for path in batch["impath"]]
    assert set(batches) <= drawn and len(drawn) == 6
