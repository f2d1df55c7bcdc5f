"""Runs train.main and keeps what happened: the state before the first step, each batch, each loss, and the trainer."""
import json
from pathlib import Path

import train

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["OPTIM.MAX_EPOCH", "3", "DATALOADER.TRAIN_X.BATCH_SIZE", "8", "DATASET.NUM_SHOTS", "4", "TRAIN.CHECKPOINT_SECONDS", "0.0", "VERBOSE", "False"]
SMALL_SHIP = ["TRAINER.SHIP.EPOCHS", "2", "TRAINER.SHIP.BATCH_SIZE", "8", "TRAINER.SHIP.HIDDEN_DIM", "16"]


def argv(bank, out, trainer, *options, task="base2new", seed=1):
    """Command line of a short run with the trainer's miniclip.yaml."""
    small = SMALL + (SMALL_SHIP if trainer.endswith("SHIP") else [])
    return [
        "--seed", str(seed), "--trainer", trainer, "--dataset-config-file", str(ROOT / "configs/datasets/caltech101.yaml"),
        "--config-file", str(ROOT / f"configs/trainers/{trainer}/miniclip.yaml"), "--output-dir", str(out),
        "TASK", task, "FEATURES.BANK", str(bank), *small, *map(str, options),
    ]


def results(out, name="results.json"):
    return json.loads((Path(out) / name).read_text())


class Recorder:
    """After a run: `trainer`, `initial` (state dict of the head), `batches` [(features, labels)], `losses`, `rates`."""

    def __init__(self, monkeypatch):
        from trainers.core.feature_trainer import FeatureTrainer

        self.trainer, self.initial, self.batches, self.losses, self.rates = None, None, [], [], []
        before_epoch, forward_backward, compute_loss = FeatureTrainer.before_epoch, FeatureTrainer.forward_backward, FeatureTrainer.compute_loss

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


class Killed(Exception):
    pass


def train_killed_before_epoch(monkeypatch, epoch, args):
    """Runs train.main and stops it as a kill would when `epoch` (from 0) is about to start."""
    import pytest

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
