"""Batches: what a partial last one is to whom, and images beside features."""

import pytest
import torch
from dassl.engine import build_trainer
from PIL import Image
from runs import Recorder, argv, results

import train
from trainers.core.data import FeatureLoader, FeatureSet


@pytest.mark.parametrize(
    "count, size, drop_last, sizes",
    [(10, 4, True, [4, 4]), (10, 4, False, [4, 4, 2]), (3, 4, True, [3]), (3, 4, False, [3]), (8, 4, False, [4, 4])],
)
def test_the_last_partial_batch(count, size, drop_last, sizes):
    features = FeatureSet(torch.randn(count, 2), torch.arange(count + 1), torch.arange(count))
    loader = FeatureLoader(features, size, drop_last)
    found = [batch["label"] for batch in loader]
    assert [len(labels) for labels in found] == sizes and len(loader) == len(sizes)
    assert len(torch.cat(found).unique()) == sum(sizes)


@pytest.mark.parametrize("trainer, cfg, kept", [("Tip_Adapter_F", "miniclip", True), ("CoOp", "miniclip", False)])
def test_who_keeps_it_through_the_command_line(tiny_bank, tmp_path, monkeypatch, trainer, cfg, kept):
    """16 images in batches of 6: Tip-Adapter's released loader has three of them, Dassl's two."""
    seen = Recorder(monkeypatch)
    train.main(argv(tiny_bank, tmp_path, trainer, "DATALOADER.TRAIN_X.BATCH_SIZE", 6, "OPTIM.MAX_EPOCH", 1, cfg=cfg))
    assert [len(labels) for _, labels in seen.batches] == ([6, 6, 4] if kept else [6, 6])


def test_the_generator_learns_from_every_image(tiny_bank, tmp_path, monkeypatch):
    from trainers.generative.vae import VAE

    sizes, step = [], VAE.step
    monkeypatch.setattr(VAE, "step", lambda self, x, *more: sizes.append(len(x)) or step(self, x, *more))
    train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP", "TRAINER.SHIP.BATCH_SIZE", 6, "TRAINER.SHIP.EPOCHS", 1))
    assert sizes == [6, 6, 4]


@pytest.fixture(scope="module")
def coloured_images(tmp_path_factory):
    """Six classes of eight images that differ, in a folder a class."""
    root = tmp_path_factory.mktemp("images")
    for i, name in enumerate(["ant", "crab", "dolphin", "elephant", "flamingo", "kangaroo"]):
        for j in range(8):
            file = root / "animals" / name / f"{j}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40), (40 * i, 30 * j, 200 - 30 * i)).save(file)
    return root / "animals"


def on_images(root, out, trainer, *options):
    args = argv("", out, trainer, "DATALOADER.NUM_WORKERS", "0", "FEATURES.DIR", str(out / "cache"), *options)
    args[args.index("--dataset-config-file") + 1] = args[args.index("--dataset-config-file") + 1].replace(
        "caltech101", "imagefolder"
    )
    return ["--root", str(root), *args]


@pytest.mark.parametrize("trainer", ["CoOp_SHIP", "Tip_Adapter_F", "f_VAEGAN"])
def test_on_the_fly_what_trains_on_features_has_random_views(coloured_images, tmp_path, monkeypatch, trainer):
    """FEATURES.VIEWS 0: batches are of images; generator and cache get stored random views, not centre crops."""
    seen = Recorder(monkeypatch)
    train.main(on_images(coloured_images, tmp_path, trainer, "FEATURES.VIEWS", 0, "OPTIM.MAX_EPOCH", 1))
    train_set = seen.trainer.train_set
    assert train_set.views.tolist() == [16] * len(train_set)
    assert results(tmp_path)["metrics"]["base"] >= 0


def test_an_unseeded_run_has_one_few_shot_draw(coloured_images, tmp_path):
    """The images that are augmented on the fly are those that the run's features are of."""
    args = on_images(coloured_images, tmp_path, "CoOp", "FEATURES.VIEWS", 0, "DATASET.NUM_SHOTS", 2)
    args[args.index("--seed") + 1] = "-1"
    trainer = build_trainer(train.setup_cfg(train.parse_args(args)))
    trainer.open_data(training=True)
    drawn = {item.impath for item in trainer.dataset.train_x}
    batches = [path for batch in trainer.make_loader() for path in batch["impath"]]
    assert set(batches) <= drawn and len(drawn) == 6
