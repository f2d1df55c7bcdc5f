"""Runs of the real command line (train.main) for tests: small ones, killed ones, and their losses step by step."""
import json
import re
from pathlib import Path

import pytest
import torch

import train

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    "OPTIM.MAX_EPOCH", "3", "DATALOADER.TRAIN_X.BATCH_SIZE", "8", "DATASET.NUM_SHOTS", "4", "TRAIN.CHECKPOINT_SECONDS", "0.0",
]
SMALL_SHIP = ["TRAINER.SHIP.EPOCHS", "3", "TRAINER.SHIP.BATCH_SIZE", "8", "TRAINER.SHIP.HIDDEN_DIM", "32"]
# What makes a method quick on the tiny bank: options by the name of its config section.
QUICK = {
    "PRODA": ["TRAINER.PRODA.N_PROMPT", "4", "TRAINER.PRODA.PROMPT_BATCH", "2"],
    "VPT": ["TRAINER.VPT.TEST_SAMPLES", "2"],
    **{
        name: [f"TRAINER.{name}.HIDDEN_DIM", "16", f"TRAINER.{name}.EPOCHS", "3", f"TRAINER.{name}.SYNTHETIC", "5"]
        for name in ("F_VAEGAN", "TF_VAEGAN")
    },
}


def argv(bank, out, trainer, *options, cfg="miniclip", task="base2new", seed=1):
    """The command line of a small run of `trainer` on a bank made by tiny_data.make_bank; later options win."""
    from dassl.engine import TRAINER_REGISTRY

    section = getattr(TRAINER_REGISTRY.get(trainer), "SECTION", None)
    small = SMALL + (SMALL_SHIP if trainer.endswith("SHIP") else []) + QUICK.get(section, [])
    return [
        "--seed", str(seed), "--trainer", trainer,
        "--dataset-config-file", str(ROOT / "configs/datasets/caltech101.yaml"),
        "--config-file", str(ROOT / f"configs/trainers/{trainer}/{cfg}.yaml"), "--output-dir", str(out),
        "TASK", task, "FEATURES.BANK", str(bank), *small, *options,
    ]


def results(out):
    return json.loads((Path(out) / "results.json").read_text())


def log(out):
    """All log files of a run, the parts of a resumed run joined."""
    return "".join(path.read_text() for path in sorted(Path(out).glob("log.txt*")))


def logged_losses(out):
    """The loss of each step that the log printed (with TRAIN.PRINT_FREQ 1: of every step)."""
    return [float(loss) for loss in re.findall(r"loss (\S+) \(", log(out))]


def newest_state(out):
    """The state dict of the head's checkpoint that the run's `checkpoint` file names."""
    pointer, = [path for path in Path(out).glob("*/checkpoint") if path.parent.name != "generator"]
    return torch.load(pointer.parent / pointer.read_text().split()[0], weights_only=True)["state_dict"]


class Killed(Exception):
    pass


def check_a_killed_run_ends_like_one_left_alone(monkeypatch, tmp_path, bank, trainer, *options):
    """`trainer` whole, and again killed before its third epoch and started once more: same metrics and parameters."""
    from trainers.core.feature_trainer import FeatureTrainer

    before = FeatureTrainer.before_epoch

    def kill(self):
        if self.epoch == 2:
            raise Killed
        before(self)

    train.main(argv(bank, tmp_path / "whole", trainer, *options))
    with monkeypatch.context() as patch:
        patch.setattr(FeatureTrainer, "before_epoch", kill)
        with pytest.raises(Killed):
            train.main(argv(bank, tmp_path / "cut", trainer, *options))
    assert not (tmp_path / "cut" / "results.json").exists()
    train.main(argv(bank, tmp_path / "cut", trainer, *options))
    assert "after 2 epochs" in log(tmp_path / "cut")
    assert results(tmp_path / "cut")["metrics"] == results(tmp_path / "whole")["metrics"]
    whole, cut = newest_state(tmp_path / "whole"), newest_state(tmp_path / "cut")
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)


class FirstSteps:
    """What the first steps of a run saw, and the `losses` that its log printed.

    `steps`: features [B, d], labels [B], the random state before the loss, ProDA's prompts; `start`: the parameters.
    """

    LR, COUNT = 0.02, 6
    # no warm-up: every step moves the parameters, so later losses depend on the gradients of earlier ones
    OPTIONS = [
        "OPTIM.LR", str(LR), "OPTIM.WARMUP_EPOCH", "-1", "TRAIN.PRINT_FREQ", "1", "OPTIM.SCHEDULE_PER", "epoch",
        "TEST.NO_TEST", "True",
    ]

    def __init__(self, monkeypatch, tmp_path, bank, trainer, *options):
        from dassl.engine import TRAINER_REGISTRY

        kind = TRAINER_REGISTRY.get(trainer)
        original = kind.compute_loss
        self.steps, self.start = [], None

        def recorded(method, features, labels):
            if self.start is None:
                self.start = {name: value.detach().clone() for name, value in method.head.named_parameters()}
                self.trainer = method
            prompts = getattr(method, "prompts", None)
            self.steps.append((features.clone(), labels.clone(), torch.get_rng_state(), prompts))
            return original(method, features, labels)

        with monkeypatch.context() as patch:
            patch.setattr(kind, "compute_loss", recorded)
            train.main(argv(bank, tmp_path, trainer, "OPTIM.MAX_EPOCH", "1", *self.OPTIONS, *options))
        self.losses = logged_losses(tmp_path)[:self.COUNT]
        assert len(self.losses) == min(self.COUNT, len(self.steps)) >= 2

    def plain_losses(self, plain_loss):
        """The losses of the same steps by plain_loss(parameters, features, labels, prompts), trained with torch's SGD."""
        parameters = {name: value.clone().requires_grad_() for name, value in self.start.items()}
        momentum, decay = self.trainer.cfg.OPTIM.MOMENTUM, self.trainer.cfg.OPTIM.WEIGHT_DECAY
        optimizer = torch.optim.SGD(parameters.values(), lr=self.LR, momentum=momentum, weight_decay=decay)
        losses = []
        for features, labels, random_state, prompts in self.steps[:self.COUNT]:
            torch.set_rng_state(random_state)
            loss = plain_loss(parameters, features, labels, prompts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses
