"""Checkpoints: plain, atomic, verified, and read without running what they hold."""

import os
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import (
    DamagedCheckpoint,
    MissingFile,
    UserError,
    load_checkpoint,
    load_pretrained_weights,
    resume_from_checkpoint,
    save_checkpoint,
)


def trained(steps, model=None, seed=0):
    """A model with SGD momentum and a cosine schedule after `steps` epochs of one step each."""
    torch.manual_seed(seed)
    model = model or torch.nn.Linear(3, 2)
    cfg = get_cfg_default().OPTIM
    cfg.NAME, cfg.LR, cfg.LR_SCHEDULER = "sgd", 0.1, "cosine"
    optimizer = build_optimizer(model, cfg)
    scheduler = build_lr_scheduler(optimizer, cfg)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
        scheduler.step()
    return model, optimizer, scheduler


def state(model, optimizer, scheduler, epoch):
    return {
        "state_dict": model.state_dict(),
        "epoch": epoch,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "val_result": np.float64(12.5),
    }


def test_saved_plain_and_named_as_newest(tmp_path, capsys):
    model, optimizer, scheduler = trained(2)
    wrapped = {f"module.{k}": v for k, v in model.state_dict().items()}
    save_checkpoint({**state(model, optimizer, scheduler, 2), "state_dict": wrapped}, str(tmp_path), is_best=True)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "model-best.pth.tar", "model.pth.tar-2"]
    assert (tmp_path / "checkpoint").read_text() == "model.pth.tar-2\n"
    content = torch.load(tmp_path / "model.pth.tar-2", weights_only=True)
    assert set(content) == {"state_dict", "epoch", "optimizer", "scheduler", "val_result"}
    assert list(content["state_dict"]) == ["weight", "bias"] and content["val_result"] == 12.5
    save_checkpoint(state(model, optimizer, scheduler, 3), str(tmp_path))
    assert (tmp_path / "checkpoint").read_text() == "model.pth.tar-3\n"


class Successor:
    """Stands for the scheduler object inside upstream's own checkpoints."""

    def __init__(self):
        self.milestones = Counter([3])
        self.history = [Counter()]


class Attack:
    """A pickle of it calls os.mkdir when it is read in the usual way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_upstream_checkpoints_are_read_without_their_objects(tmp_path):
    """Their schedule, an object, follows the epoch."""
    model, optimizer, _ = trained(7)
    extra = {"half": torch.ones(2, dtype=torch.float16), "p": torch.nn.Parameter(torch.ones(1))}
    content = {
        "state_dict": {**model.state_dict(), **extra},
        "epoch": 7,
        "optimizer": optimizer.state_dict(),
        "scheduler": {"successor": Successor(), "last_epoch": 7, "attack": Attack(str(tmp_path / "owned"))},
        "val_result": None,
    }
    path = tmp_path / "model.pth.tar-7"
    torch.save(content, path)
    got = load_checkpoint(str(path))
    assert set(got) == {"state_dict", "epoch"} and got["epoch"] == 7
    assert torch.equal(got["state_dict"]["weight"], model.weight) and got["state_dict"]["half"].dtype == torch.float16
    torch.save({**content, "state_dict": model.state_dict()}, path)
    resumed, optimizer, scheduler = trained(0, seed=1)
    assert resume_from_checkpoint(str(tmp_path), resumed, optimizer, scheduler, path.name) == 7
    assert scheduler.get_last_lr() == [pytest.approx(content["optimizer"]["param_groups"][0]["lr"])]
    assert not (tmp_path / "owned").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "owned").exists()  # the file is a live one


def test_damaged_and_other_files_are_refused_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_checkpoint(state(*trained(2, torch.nn.Linear(3, 40)), 2), str(tmp_path))
    whole = (tmp_path / "model.pth.tar-2").read_bytes()
    flipped = whole[:400] + bytes([whole[400] ^ 255]) + whole[401:]
    for content in (b"", b"not a checkpoint", whole[:-900], flipped, pickle.dumps(Attack("owned")), pickle.dumps([1])):
        (tmp_path / "model").write_bytes(content)
        with pytest.raises(DamagedCheckpoint, match="model is damaged or not a checkpoint"):
            load_checkpoint("model")
    assert not (tmp_path / "owned").exists()


def test_files_that_are_missing_or_do_not_fit_are_named(tmp_path):
    (tmp_path / "checkpoint").write_text("model.pth.tar-5\n")
    with pytest.raises(MissingFile, match="model.pth.tar-5"):
        resume_from_checkpoint(str(tmp_path), torch.nn.Linear(1, 1))
    save_checkpoint(state(*trained(1), 1), str(tmp_path))
    with pytest.raises(UserError, match="model.pth.tar-1 does not fit the model"):
        resume_from_checkpoint(str(tmp_path), torch.nn.Linear(4, 2))


def test_pretrained_weights_fit_by_name_and_shape(tmp_path, capsys):
    model, other = trained(1)[0], torch.nn.Linear(4, 2)
    save_checkpoint({"state_dict": model.state_dict(), "epoch": 1}, str(tmp_path))
    load_pretrained_weights(other, str(tmp_path / "model.pth.tar-1"))
    assert torch.equal(other.bias, model.bias)
    assert "Not used, name or shape do not fit: weight" in capsys.readouterr().out
    with pytest.raises(UserError, match="no tensor of .*model.pth.tar-1 fits"):
        load_pretrained_weights(torch.nn.Linear(4, 3), str(tmp_path / "model.pth.tar-1"))
