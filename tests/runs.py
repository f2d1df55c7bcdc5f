"""Runs of the real command line (train.main) for tests: small ones, killed ones, and their losses step by step."""

import json
import re
from pathlib import Path

import pytest
import torch

import train
from scripts.lib.runs import config_files

ROOT = Path(__file__).resolve().parent.parent
SMALL = (
    "OPTIM.MAX_EPOCH 3 DATALOADER.TRAIN_X.BATCH_SIZE 8 DATASET.NUM_SHOTS 4 TRAIN.CHECKPOINT_SECONDS 0.0 VERBOSE False"
).split()
SMALL_SHIP = "TRAINER.SHIP.EPOCHS 3 TRAINER.SHIP.BATCH_SIZE 8 TRAINER.SHIP.HIDDEN_DIM 32".split()
# What makes a method quick on the tiny bank: options by the name of its config section.
QUICK = {
    "PRODA": "TRAINER.PRODA.N_PROMPT 4 TRAINER.PRODA.PROMPT_BATCH 2".split(),
    "VPT": "TRAINER.VPT.TEST_SAMPLES 2".split(),
    **{
        name: f"TRAINER.{name}.HIDDEN_DIM 16 TRAINER.{name}.EPOCHS 3 TRAINER.{name}.SYNTHETIC 5".split()
        for name in ("F_VAEGAN", "TF_VAEGAN")
    },
}


def argv(bank, out, trainer, *options, cfg="miniclip", task="base2new", seed=1):
    """The command line of a small run of `trainer` on a bank made by tiny_data.make_bank; later options win."""
    from dassl.engine import TRAINER_REGISTRY

    section = getattr(TRAINER_REGISTRY.get(trainer), "SECTION", None)
    small = SMALL + (SMALL_SHIP if "SHIP" in trainer.split("_") else []) + QUICK.get(section, [])
    dataset = "configs/datasets/caltech101.yaml"
    flags = {
        "--seed": seed,
        "--trainer": trainer,
        "--dataset-config-file": ROOT / dataset,
        "--output-dir": out,
    }
    words = [word for pair in flags.items() for word in pair]
    words += [word for path in config_files(trainer, cfg) for word in ("--config-file", ROOT / path)]
    return [str(word) for word in [*words, "TASK", task, "FEATURES.BANK", bank, *small, *options]]


def results(out, name="results.json"):
    return json.loads((Path(out) / name).read_text())


def log(out):
    """All log files of a run, the parts of a resumed run joined."""
    return "".join(path.read_text() for path in sorted(Path(out).glob("log.txt*")))


def logged_losses(out):
    """The loss of each step that the log printed (with TRAIN.PRINT_FREQ 1: of every step)."""
    return [float(loss) for loss in re.findall(r"loss (\S+) \(", log(out))]


def newest_state(out):
    """The state dict of the head's checkpoint that the run's `checkpoint` file names."""
    (pointer,) = [path for path in Path(out).glob("*/checkpoint") if path.parent.name != "generator"]
    return torch.load(pointer.parent / pointer.read_text().split()[0], weights_only=True)["state_dict"]


def forget_identity(out):
    """Makes a run one of an earlier version, whose files say neither which options made them nor their digest."""
    (Path(out) / "results.json").unlink(missing_ok=True)
    for path in Path(out).glob("*/*.pth.tar*"):
        state = torch.load(path, weights_only=True)
        torch.save({key: value for key, value in state.items() if key not in ("identity", "digest")}, path)


class Killed(Exception):
    pass


def train_killed_before_epoch(monkeypatch, epoch, args):
    """Runs train.main and stops it as a kill would when `epoch` (from 0) is about to start."""
    from trainers.core.feature_trainer import FeatureTrainer

    with monkeypatch.context() as patch:
        before = FeatureTrainer.before_epoch

        def dying(trainer):
            if trainer.epoch >= epoch:
                raise Killed
            before(trainer)

        patch.setattr(FeatureTrainer, "before_epoch", dying)
        with pytest.raises(Killed):
            train.main(args)


def check_a_killed_run_ends_like_one_left_alone(monkeypatch, tmp_path, bank, trainer, *options):
    """`trainer` whole, and again killed before its third epoch and started once more: same results and parameters."""
    train.main(argv(bank, tmp_path / "whole", trainer, *options))
    train_killed_before_epoch(monkeypatch, 2, argv(bank, tmp_path / "cut", trainer, *options))
    assert not (tmp_path / "cut" / "results.json").exists()
    train.main(argv(bank, tmp_path / "cut", trainer, *options))
    assert "after 2 epochs" in log(tmp_path / "cut")
    found, expected = results(tmp_path / "cut"), results(tmp_path / "whole")
    for field in ("metrics", "unsupported", "subset", "selection", "extra"):
        assert found[field] == expected[field]
    whole, cut = newest_state(tmp_path / "whole"), newest_state(tmp_path / "cut")
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)


class FirstSteps:
    """What the first steps of a run saw, and the `losses` that its log printed.

    `steps`: features [B, d], labels [B], the random state before the loss, ProDA's prompts; `start`: the parameters.
    """

    LR, COUNT = 0.02, 6
    # no warm-up: every step moves the parameters, so later losses depend on the gradients of earlier ones
    OPTIONS = (
        f"OPTIM.LR {LR} OPTIM.WARMUP_EPOCH -1 OPTIM.SCHEDULE_PER epoch TRAIN.PRINT_FREQ 1 TEST.NO_TEST True"
    ).split()

    def __init__(self, monkeypatch, tmp_path, bank, trainer, *options):
        from dassl.engine import TRAINER_REGISTRY

        kind = TRAINER_REGISTRY.get(trainer)
        original = kind.compute_loss
        self.steps, self.start = [], None

        def recorded(method, features, labels):
            if self.start is None:
                self.start = {name: value.detach().clone() for name, value in method.head.named_parameters()}
                self.trainer = method
            prompts = getattr(method.head, "chosen", None)
            self.steps.append((features.clone(), labels.clone(), torch.get_rng_state(), prompts))
            return original(method, features, labels)

        with monkeypatch.context() as patch:
            patch.setattr(kind, "compute_loss", recorded)
            train.main(argv(bank, tmp_path, trainer, "OPTIM.MAX_EPOCH", "1", *self.OPTIONS, *options))
        self.losses = logged_losses(tmp_path)[: self.COUNT]
        assert len(self.losses) == min(self.COUNT, len(self.steps)) >= 2

    def plain_losses(self, plain_loss):
        """The losses of the same steps by plain_loss(parameters, features, labels, prompts), trained with torch's
        SGD."""
        parameters = {name: value.clone().requires_grad_() for name, value in self.start.items()}
        momentum, decay = self.trainer.cfg.OPTIM.MOMENTUM, self.trainer.cfg.OPTIM.WEIGHT_DECAY
        optimizer = torch.optim.SGD(parameters.values(), lr=self.LR, momentum=momentum, weight_decay=decay)
        losses = []
        for features, labels, random_state, prompts in self.steps[: self.COUNT]:
            torch.set_rng_state(random_state)
            loss = plain_loss(parameters, features, labels, prompts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses


class Recorder:
    """After a run: `trainer`, `initial` (state dict of the head), `batches` [(features, labels)], `losses`, `rates`."""

    def __init__(self, monkeypatch):
        from trainers.core.feature_trainer import FeatureTrainer

        self.trainer, self.initial, self.batches, self.losses, self.rates = None, None, [], [], []
        before_epoch, forward_backward, compute_loss = (
            FeatureTrainer.before_epoch,
            FeatureTrainer.forward_backward,
            FeatureTrainer.compute_loss,
        )

        def noting_state(trainer):
            if self.initial is None:
                self.trainer = trainer
                self.initial = {name: value.clone() for name, value in trainer.head.state_dict().items()}
            before_epoch(trainer)

        def noting_loss(trainer, batch):
            self.rates.append(trainer.get_current_lr())
            found = forward_backward(trainer, batch)
            self.losses.append(found["loss"])
            return found

        def noting_batch(trainer, features, labels):
            self.batches.append((features.clone(), labels.clone()))
            return compute_loss(trainer, features, labels)

        monkeypatch.setattr(FeatureTrainer, "before_epoch", noting_state)
        monkeypatch.setattr(FeatureTrainer, "forward_backward", noting_loss)
        monkeypatch.setattr(FeatureTrainer, "compute_loss", noting_batch)
