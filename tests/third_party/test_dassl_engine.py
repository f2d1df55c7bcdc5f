"""dassl.engine: the order of hooks, checkpoints and resume, selection, and what is printed."""

import math
import os
import re

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerBase, TrainerX, build_trainer
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import NonFiniteLoss, UserError, load_checkpoint
from PIL import Image


@DATASET_REGISTRY.register(force=True)
class Shades(DatasetBase):
    """Ten grey images, dark ones and bright ones; a validation set unless DATASET.ROOT ends in noval."""

    def __init__(self, cfg):
        folder = cfg.DATASET.ROOT
        data = []
        for i in range(10):
            path = os.path.join(folder, f"{i}.png")
            if not os.path.exists(path):
                Image.new("RGB", (4, 4), (i * 25,) * 3).save(path)
            data.append(Datum(path, label=i // 5, classname=["dark", "bright"][i // 5]))
        super().__init__(train_x=data, val=None if folder.endswith("noval") else data[::3], test=data)


@TRAINER_REGISTRY.register(force=True)
class Linear(TrainerX):
    """Logistic regression on pixels, which notes the hooks it sees."""

    def __init__(self, cfg):
        self.seen = []
        self.lrs = []
        super().__init__(cfg)

    def check_cfg(self, cfg):
        self.seen.append("check_cfg")

    def build_model(self):
        self.seen.append("build_model")
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, self.num_classes))
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("linear", self.model, self.optim, self.sched)

    def before_epoch(self):
        self.seen.append(f"before_epoch {self.epoch}")

    def after_epoch(self):
        self.seen.append(f"after_epoch {self.epoch}")
        super().after_epoch()

    def after_train(self):
        self.seen.append("after_train")
        super().after_train()

    def test(self, split=None):
        self.seen.append(f"test {split}")
        return super().test(split)

    def forward_backward(self, batch):
        self.lrs.append(self.get_current_lr())
        images, labels, domains = self.parse_batch_train(batch)
        loss = torch.nn.functional.cross_entropy(self.model(images), labels)
        self.model_backward_and_update(loss)
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}


def config(tmp_path, *options):
    cfg = get_cfg_default()
    os.makedirs(tmp_path / "data", exist_ok=True)
    os.makedirs(tmp_path / "noval", exist_ok=True)
    fixed = "VERBOSE False USE_CUDA False DATASET.NAME Shades TRAINER.NAME Linear INPUT.SIZE (4,4) OPTIM.NAME sgd "
    fixed += "OPTIM.LR 0.05 OPTIM.LR_SCHEDULER cosine OPTIM.MAX_EPOCH 4 DATALOADER.NUM_WORKERS 0 "
    fixed += "DATALOADER.TRAIN_X.SAMPLER SequentialSampler DATALOADER.TRAIN_X.BATCH_SIZE 4"
    cfg.merge_from_list(fixed.split())
    cfg.merge_from_list(["OUTPUT_DIR", str(tmp_path / "out"), "DATASET.ROOT", str(tmp_path / "data"), *options])
    return cfg


@pytest.fixture(autouse=True)
def no_tensorboard(monkeypatch):
    """Importing TensorBoard takes seconds."""
    monkeypatch.setattr(TrainerBase, "init_writer", lambda self, log_dir: None)


def run(cfg):
    trainer = build_trainer(cfg)
    trainer.train()
    return trainer


def weights(trainer):
    return torch.cat([p.flatten() for p in trainer.model.parameters()])


def test_order_of_hooks_and_lines(tmp_path, capsys):
    trainer = run(config(tmp_path, "OPTIM.MAX_EPOCH", 2))
    epochs = ["before_epoch 0", "after_epoch 0", "before_epoch 1", "after_epoch 1"]
    assert trainer.seen == ["check_cfg", "build_model", *epochs, "after_train", "test None"]
    lines = capsys.readouterr().out.splitlines()
    accuracy = [i for i, line in enumerate(lines) if re.fullmatch(r"\* accuracy: [\d.]+%", line)]
    assert len(accuracy) == 1 and accuracy[0] > lines.index("Finish training")


@pytest.mark.parametrize("by_resume_key", [False, True])
def test_a_killed_run_ends_as_one_left_alone(tmp_path, by_resume_key, monkeypatch, capsys):
    straight = run(config(tmp_path, "OUTPUT_DIR", str(tmp_path / "straight"), "OPTIM.NAME", "adam"))
    rates = [0.05 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4) for batch in range(2)]
    assert straight.lrs == pytest.approx(rates)  # constant within an epoch

    class Killed(Exception):
        pass

    def stop(self):
        if self.epoch == 2:
            raise Killed

    killed = config(tmp_path, "TRAIN.CHECKPOINT_FREQ", 1, "OPTIM.NAME", "adam")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Linear, "before_epoch", stop)
        run(killed)
    if by_resume_key:
        killed.merge_from_list(["RESUME", killed.OUTPUT_DIR, "OUTPUT_DIR", str(tmp_path / "elsewhere")])
    resumed = run(killed)
    assert resumed.start_epoch == 2 and resumed.lrs == straight.lrs[4:]
    assert torch.equal(weights(resumed), weights(straight))


def test_selection_never_falls_back_to_the_test_set(tmp_path):
    for options in (("TEST.FINAL_MODEL", "best_val"), ("TEST.SPLIT", "val")):
        with pytest.raises(UserError, match="Shades has no validation set"):
            run(config(tmp_path, "DATASET.ROOT", str(tmp_path / "noval"), *options))


def test_a_loss_that_is_not_finite_stops_and_names_the_step(tmp_path, capsys):
    cfg = config(tmp_path, "TRAIN.CHECKPOINT_FREQ", 1)
    trainer = build_trainer(cfg)
    original = trainer.parse_batch_train

    def poisoned(batch):
        images, labels, domains = original(batch)
        return images * (math.nan if (trainer.epoch, trainer.batch_idx) == (2, 1) else 1), labels, domains

    trainer.parse_batch_train = poisoned
    with pytest.raises(NonFiniteLoss, match="nan in epoch 3, batch 2"):
        trainer.train()
    last = load_checkpoint(str(tmp_path / "out" / "linear" / "model.pth.tar-2"))
    assert all(torch.isfinite(v).all() for v in last["state_dict"].values())
