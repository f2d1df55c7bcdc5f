"""Checkpoints that were changed or are no checkpoints are refused by name."""

import zipfile

import pytest
import torch
from dassl.utils import UserError
from runs import argv, check_a_killed_run_ends_like_one_left_alone, evaluate, same_state

import train
from trainers.core.checkpoints import BEST, ROLLING, Checkpoints, Rolling, read, write

STATE = {
    "state_dict": {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(True)},
    "epoch": 2,
    "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
    "identity": {"SEED": 1},
}


@pytest.mark.parametrize("part", ["data/0", "data/2"])
def test_a_flipped_bit_with_the_right_checksum_is_refused(tmp_path, part):
    write(STATE, str(tmp_path))
    path = tmp_path / "model.pth.tar-2"
    with zipfile.ZipFile(path) as archive:
        content = {entry.filename: bytearray(archive.read(entry)) for entry in archive.infolist()}
    (name,) = [name for name in content if name.endswith(part)]
    content[name][0] ^= 1
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, bytes(data))
    torch.load(path, weights_only=True)  # nothing else notices
    with pytest.raises(UserError, match=r"model.pth.tar-2 is damaged.*digest.*--force"):
        read(str(path))


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 1}, {**STATE, "digest": "0" * 64}])
def test_another_content_is_a_sentence_with_the_path(tmp_path, content):
    torch.save(content, tmp_path / "x.pth.tar")
    with pytest.raises(UserError, match="x.pth.tar is damaged"):
        read(str(tmp_path / "x.pth.tar"))


def test_the_newest_is_never_the_best(tmp_path):
    found = Checkpoints(str(tmp_path), "head")
    found.write(STATE, name=BEST)
    assert found.newest() is None
    for epoch in (2, 10, 9):
        found.write({**STATE, "epoch": epoch})
    assert found.newest() == str(tmp_path / "head/model.pth.tar-10") and found.find(2).endswith("tar-2")
    found.write(STATE, name=ROLLING)
    assert found.newest() == str(tmp_path / "head" / ROLLING) and found.find() == str(tmp_path / "head" / BEST)
    found.write({**STATE, "epoch": 11})
    assert found.newest() == str(tmp_path / "head/model.pth.tar-11")
    with pytest.raises(UserError, match="no checkpoint .*model.pth.tar-3"):
        found.find(3)


def test_a_killed_run_that_keeps_its_best_epoch_ends_like_one_left_alone(tiny_bank, tmp_path, monkeypatch):
    options = "TEST.FINAL_MODEL", "best_val"
    check_a_killed_run_ends_like_one_left_alone(monkeypatch, tmp_path, tiny_bank, "CoOp", *options)
    best, other = (read(str(tmp_path / run / "prompt_learner" / BEST)) for run in ("whole", "cut"))
    assert best["epoch"] == other["epoch"] and best["val_result"] == other["val_result"]
    assert same_state(best["state_dict"], other["state_dict"])


def test_what_is_newer_than_the_last_saving_is_saved_at_an_interrupt():
    saved, state = [], {"epoch": 0}
    with pytest.raises(SystemExit), Rolling(saved.append) as rolling:
        for epoch in (1, 2):
            state["epoch"] = epoch
            rolling.offer(lambda: state, seconds=60)
        state["epoch"] = 3  # the round that was interrupted
        raise SystemExit(143)
    assert [entry["epoch"] for entry in saved[1:]] == [2]
    with pytest.raises(ZeroDivisionError), Rolling(saved.append) as rolling:
        rolling.offer(lambda: state, seconds=0)
        rolling.offer(lambda: state, seconds=60)
        raise ZeroDivisionError  # after another error nothing is
    assert len(saved) == 3


def test_a_missing_best_epoch_is_never_replaced_by_the_last(tiny_bank, tmp_path):
    out = tmp_path / "run"
    train.main(argv(tiny_bank, out, "CoOp", "TEST.FINAL_MODEL", "best_val"))
    (out / "prompt_learner" / BEST).unlink()
    with pytest.raises(UserError, match=f"{BEST} is missing.*--force"):
        evaluate(out, tiny_bank, tmp_path / "eval", "CoOp")
