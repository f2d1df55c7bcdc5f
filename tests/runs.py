"""Runs of the real command line (train.main) for tests: small ones, killed ones, and what their steps saw."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

import train
import trainers
from scripts.lib.runs import config_files
from trainers.core.config import declare_options
from trainers.plugins.ship import SHIP

trainers.extend_cfg(get_cfg_default())  # registers the trainers

ROOT = Path(__file__).resolve().parent.parent
JUDGES = {"ausuc", "openworld_auc", "auroc", "ece_base", "ece_new"}  # of a joint decision, in every base-to-new result
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
        for name in ("F_VAEGAN", "TF_VAEGAN", "F_CLSWGAN")
    },
}


def argv(bank, out, trainer, *options, cfg="miniclip", task="base2new", seed=1, dataset="caltech101"):
    """The command line of a small run of `trainer` on a bank made by tiny_data.make_bank; later options win."""
    section = getattr(TRAINER_REGISTRY.get(trainer), "SECTION", None)
    small = SMALL + (SMALL_SHIP if "SHIP" in trainer.split("_") else []) + QUICK.get(section, [])
    words = ["--seed", seed, "--trainer", trainer, "--output-dir", out]
    words += ["--dataset-config-file", ROOT / f"configs/datasets/{dataset}.yaml"]
    words += [word for path in config_files(trainer, cfg) for word in ("--config-file", ROOT / path)]
    return [str(word) for word in [*words, "TASK", task, "FEATURES.BANK", bank, *small, *options]]


def ship_options(**changes):
    """cfg.TRAINER.SHIP with the paper's values and some changes."""
    cfg = CfgNode()
    declare_options(cfg, [SHIP])
    for key, value in changes.items():
        cfg.TRAINER.SHIP[key] = value
    return cfg.TRAINER.SHIP


def evaluate(model, bank, out, trainer, *options, subset="base", **rest):
    """Evaluates the run in the folder `model` alone, as CoOp's scripts do. -> its results-<subset>.json"""
    words = argv(bank, out, trainer, "DATASET.SUBSAMPLE_CLASSES", subset, *options, **rest)
    train.main(["--eval-only", "--model-dir", str(model), *words])
    return results(out, f"results-{subset}.json")


def open_data(args):
    """A trainer of that command line, with its data and without a head."""
    trainer = train.build_trainer(train.setup_cfg(train.parse_args(args)))
    trainer.open_data(training=True)
    return trainer


def results(out, name="results.json"):
    return json.loads((Path(out) / name).read_text())


def log(out):
    """All log files of a run, the parts of a resumed run joined."""
    return "".join(path.read_text() for path in sorted(Path(out).glob("log.txt*")))


def newest_state(out):
    """The state dict of the head's checkpoint that the run's `checkpoint` file names."""
    (pointer,) = [path for path in Path(out).glob("*/checkpoint") if path.parent.name != "generator"]
    return torch.load(pointer.parent / pointer.read_text().split()[0], weights_only=True)["state_dict"]


def same_state(one, other):
    """Whether two state dicts, or the newest ones of two runs, are equal to the bit."""
    one, other = (found if isinstance(found, dict) else newest_state(found) for found in (one, other))
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


class Killed(Exception):
    pass


def train_killed_before_epoch(monkeypatch, epoch, args, stage="finetune"):
    """Runs train.main and stops it as a kill would when `epoch` (from 0) of the fine-tuning, or of the generator's
    training, is about to start."""
    module = {"finetune": "trainers.core.trainer", "generator": "trainers.generative.training"}[stage]
    from trainers.core.randomness import seed_all

    def dying(seed, *purpose):
        if purpose[0] == stage and isinstance(purpose[-1], int) and purpose[-1] >= epoch:
            raise Killed
        seed_all(seed, *purpose)

    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.seed_all", dying)
        with pytest.raises(Killed):
            train.main(args)
    assert not (Path(args[args.index("--output-dir") + 1]) / "results.json").exists()


def check_a_killed_run_ends_like_one_left_alone(
    monkeypatch, tmp_path, bank, trainer, *options, stage="finetune", **rest
):
    """`trainer` whole, and again killed before its third epoch and started once more: same results and parameters."""
    train.main(argv(bank, tmp_path / "whole", trainer, *options, **rest))
    args = argv(bank, tmp_path / "cut", trainer, *options, **rest)
    train_killed_before_epoch(monkeypatch, 2, args, stage)
    train.main(args)
    assert "after 2 epochs" in log(tmp_path / "cut")
    found, expected = results(tmp_path / "cut"), results(tmp_path / "whole")
    for field in ("metrics", "unsupported", "subset", "selection", "extra"):
        assert found[field] == expected[field]
    assert same_state(tmp_path / "whole", tmp_path / "cut")


class Recorded:
    """A run of a command line, and what its steps saw.

    `trainer`; `start`: the head's state before the first step; `steps`: for each one features [B, d] and labels [B] as
    the loss sees them, the random state before it, ProDA's prompts, the learning rate and the loss, penalties included.
    """

    def __init__(self, monkeypatch, args):
        kind = TRAINER_REGISTRY.get(args[args.index("--trainer") + 1])
        compute_loss, update = kind.compute_loss, kind.update
        self.trainer, self.start, self.steps = None, None, []

        def noting_batch(trainer, features, labels):
            if self.start is None:
                self.trainer = trainer
                self.start = {name: value.detach().clone() for name, value in trainer.head.state_dict().items()}
            seen = {"features": features.clone(), "labels": labels.clone(), "random": torch.get_rng_state()}
            seen["prompts"] = trainer.batch.get("prompts")
            self.steps.append(SimpleNamespace(**seen, rate=trainer.get_current_lr()))
            return compute_loss(trainer, features, labels)

        def noting_loss(trainer, loss):
            self.steps[-1].loss = loss.item()
            update(trainer, loss)

        with monkeypatch.context() as patch:
            patch.setattr(kind, "compute_loss", noting_batch)
            patch.setattr(kind, "update", noting_loss)
            train.main(args)

    @property
    def losses(self):
        return [step.loss for step in self.steps]

    def plain_losses(self, plain_loss, make_optimizer=None):
        """The losses of the same steps by plain_loss(parameters, features, labels, prompts), trained with torch's own
        optimiser (SGD as the run's, unless `make_optimizer(parameters)` makes another) at the run's learning rates.
        -> (losses, parameters after the last step)"""
        learnable = [name for name, value in self.trainer.head.named_parameters() if value.requires_grad]
        parameters = {name: self.start[name].clone().requires_grad_(name in learnable) for name in self.start}
        optim, trained = self.trainer.cfg.OPTIM, [parameters[name] for name in learnable]
        optimizer = (
            make_optimizer(trained)
            if make_optimizer
            else torch.optim.SGD(trained, lr=1.0, momentum=optim.MOMENTUM, weight_decay=optim.WEIGHT_DECAY)
        )
        losses = []
        for step in self.steps:
            torch.set_rng_state(step.random)
            loss = plain_loss(parameters, step.features, step.labels, step.prompts)
            optimizer.param_groups[0]["lr"] = step.rate
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, parameters


# No warm-up: every step moves the parameters, so later losses depend on the gradients of earlier ones.
EVERY_STEP = "OPTIM.LR 0.02 OPTIM.WARMUP_EPOCH -1 OPTIM.SCHEDULE_PER epoch OPTIM.MAX_EPOCH 2 TEST.NO_TEST True".split()
