"""Checkpoints that were changed or are no checkpoints are refused by name; the best epoch stays the best one."""

import shutil
import zipfile

import pytest
import torch
from dassl.utils import UserError
from runs import Killed, argv, evaluate, log, results, same_state

import train
from trainers.core.checkpoints import BEST, Checkpoints, read, write
from trainers.core.trainer import FeatureTrainer

STATE = {
    "state_dict": {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(True)},
    "epoch": 2,
    "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
    "history": [{"loss": 1.0}],
    "identity": {"SEED": 1},
}


def flip(path, part, place=0):
    """Flips a bit in a part of the archive, and gives it the checksum that fits."""
    with zipfile.ZipFile(path) as archive:
        content = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    (name,) = [name for name in content if name.endswith(part)]
    data = bytearray(content[name])
    data[place] ^= 1
    with zipfile.ZipFile(path, "w") as archive:
        for entry, old in content.items():
            archive.writestr(entry, bytes(data) if entry == name else old)


@pytest.mark.parametrize("part", ["data/0", "data/2"])
def test_a_flipped_bit_with_the_right_checksum_is_refused(tmp_path, part):
    write(STATE, str(tmp_path))
    path = tmp_path / "model.pth.tar-2"
    flip(path, part)
    torch.load(path, weights_only=True)  # nothing else notices
    with pytest.raises(UserError, match=r"model.pth.tar-2 is damaged.*digest.*--force"):
        read(str(path))


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"epoch": 1},
        {**STATE, "epoch": "two"},
        {**STATE, "identity": {"SEED": 2}, "digest": "0" * 64},
    ],
)
def test_another_content_is_a_sentence_with_the_path(tmp_path, content):
    torch.save(content, tmp_path / "x.pth.tar")
    with pytest.raises(UserError, match="x.pth.tar is damaged"):
        read(str(tmp_path / "x.pth.tar"))


def test_the_newest_is_never_the_best(tmp_path):
    found = Checkpoints(str(tmp_path), "head")
    for epoch in (2, 10, 9):
        found.write({**STATE, "epoch": epoch})
    found.write(STATE, name=BEST)
    assert found.newest() == str(tmp_path / "head/model.pth.tar-10")
    found.write({**STATE, "epoch": 11}, name="model-rolling.pth.tar")
    assert found.newest() == str(tmp_path / "head/model-rolling.pth.tar")
    assert found.that_counts() == str(tmp_path / "head" / BEST)


BEST_VAL = ("TEST.FINAL_MODEL", "best_val")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_bank):
    """A run whose last epoch is the best on validation: each is better than the one before."""
    out = tmp_path_factory.mktemp("best") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        rising(patch)
        train.main(argv(tiny_bank, out, "CoOp", *BEST_VAL))
    return out


def rising(patch):
    found = iter(range(1, 100))
    patch.setattr("trainers.core.checkpoints.top1", lambda predicted, labels: float(next(found)))


@pytest.mark.parametrize("dies_at", [1, 3])
def test_killed_behind_the_best_of_an_epoch_it_ends_like_one_left_alone(
    whole, tiny_bank, tmp_path, monkeypatch, dies_at
):
    """In front of the other files of that epoch, which are written all the same."""
    save = FeatureTrainer.save_model

    def dying(trainer, epoch, directory, **given):
        save(trainer, epoch, directory, **given)
        if epoch + 1 == dies_at and given.get("model_name") == BEST:
            raise Killed

    with monkeypatch.context() as patch:
        rising(patch)
        patch.setattr(FeatureTrainer, "save_model", dying)
        with pytest.raises(Killed):
            train.main(argv(tiny_bank, tmp_path, "CoOp", *BEST_VAL))
    with monkeypatch.context() as patch:
        rising(patch)
        train.main(argv(tiny_bank, tmp_path, "CoOp", *BEST_VAL))
    files = [sorted(path.name for path in (folder / "prompt_learner").iterdir()) for folder in (whole, tmp_path)]
    assert files[0] == files[1] and results(tmp_path)["metrics"] == results(whole)["metrics"]
    assert same_state(whole, tmp_path)


def test_a_missing_best_epoch_is_never_replaced_by_the_last(whole, tiny_bank, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "prompt_learner" / BEST).unlink()
    with pytest.raises(UserError, match=f"{BEST} is missing.*--force"):
        evaluate(out, tiny_bank, tmp_path / "eval", "CoOp")
    (out / "results.json").unlink()
    with pytest.raises(UserError, match=f"{BEST} is missing.*--force"):
        train.main(argv(tiny_bank, out, "CoOp", *BEST_VAL))
    words = argv(tiny_bank, tmp_path / "eval", "CoOp")
    train.main(["--eval-only", "--load-epoch", "3", "--model-dir", str(out), *words])
    assert "loaded" in log(tmp_path / "eval")
