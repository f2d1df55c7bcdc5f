"""The features of a run's images: those that cannot be read are an error, or left out, said and counted."""

import pytest
from dassl.engine import build_trainer
from helpers.trees import add_images
from runs import argv

import train
from trainers.core.files import UserError


@pytest.fixture
def trainer_on(tmp_path):
    """trainer_on(*options): a zero-shot CLIP that has its data: twelve images of four classes a part."""
    for part in ("train", "val", "test"):
        for name in ("ant", "bee", "crab", "dog"):
            add_images(tmp_path / "images" / part / name, ["0.png", "1.png", "2.png"])

    def make(*options):
        given = argv("", tmp_path / "out", "ZeroshotCLIP", *options, task="fewshot")
        given = [word.replace("caltech101.yaml", "imagefolder.yaml") for word in given]
        cache = "FEATURES.DIR", str(tmp_path / "cache"), "DATALOADER.NUM_WORKERS", "0"
        given = ["--root", str(tmp_path / "images"), *given, *cache]
        trainer = build_trainer(train.setup_cfg(train.parse_args(given)))
        trainer.open_data(training=True)
        return trainer

    return make


def test_unreadable_images_are_refused_or_counted(trainer_on, tmp_path, capsys):
    data = trainer_on().data
    assert len(data.plain(data.dataset.test)) == 12 and data.skipped == {}
    for place in ("test/ant/1.png", "test/bee/0.png", "val/crab/2.png"):
        (tmp_path / "images" / place).write_bytes(b"no image")
    data = trainer_on().data
    with pytest.raises(UserError, match="2 of the images cannot be read: .*ant/1.png, .*bee/0.png. .*SKIP_BAD_IMAGES"):
        data.plain(data.dataset.test)
    for _ in range(2):  # encoded, and from the cache
        data = trainer_on("DATASET.SKIP_BAD_IMAGES", "True").data
        capsys.readouterr()
        few, again = data.plain(data.dataset.test[:5]), data.plain(data.dataset.test)
        assert (len(few), len(again)) == (3, 10) and data.skipped == {"test": 2}
        assert "test: 2 of 12 images cannot be read and are left out" in capsys.readouterr().out
        assert len(data.val_set) == 11 and data.skipped == {"test": 2, "val": 1}
