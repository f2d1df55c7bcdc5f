"""A trainer's state in a checkpoint and back: what is saved, resuming, loading for evaluation, starting from another
run."""

import os

from dassl.utils import load_checkpoint
from torch import nn

from ..errors import UserError
from . import results
from .checkpoints import Checkpoints


def state_of(trainer, done: int, val_result=None) -> dict:
    """Everything that a run after `done` epochs is."""
    optimizer, scheduler = trainer._optims[trainer.MODEL_NAME], trainer._scheds[trainer.MODEL_NAME]
    return {
        "state_dict": trainer.head.state_dict(),
        "epoch": done,
        "classnames": trainer.trained_classnames,
        "val_result": val_result,
        "optimizer": optimizer.state_dict() if optimizer else None,
        "scheduler": scheduler.state_dict() if scheduler else None,
        "scaler": trainer.scaler.state_dict() if trainer.scaler else None,
        "best_result": trainer.best_result,
        "seconds": dict(trainer.watch.seconds),
        "history": list(trainer.history),
        "selection": trainer.selection,
    }


def read(trainer, path: str) -> tuple[dict, list[str]]:
    """(checkpoint, class names) of a file; a stock CoOp's has no names: then they are those of the data."""
    checkpoint = load_checkpoint(path)
    if not checkpoint.get("classnames"):
        trainer.open_data(training=False)
    return checkpoint, list(checkpoint.get("classnames") or trainer.head_classnames())


def load_head(trainer, directory: str, epoch: int | None = None):
    """Makes the head saved in the output folder `directory` the trainer's, for evaluation."""
    path = Checkpoints(directory, trainer.MODEL_NAME).find(epoch)
    checkpoint, names = read(trainer, path)
    trainer.set_head(trainer.head_from_checkpoint(names, checkpoint["state_dict"]), names, training=False)
    trainer.selection = checkpoint.get("selection", trainer.selection)
    print(f"loaded {path} (epoch {checkpoint['epoch']}, {len(names)} classes)")


def head_of_run(trainer, path: str, classnames: list[str]) -> nn.Module:
    """The head over `classnames` with the parameters of another run: `path` is its output folder, or a checkpoint file
    (also one of stock CoOp).

    Raises UserError where there is none or it does not fit, ClassesUnsupported where it cannot have these names.
    """
    source = Checkpoints(path, trainer.MODEL_NAME)
    file = path if os.path.isfile(path) else source.that_counts()
    if file is None or not os.path.isfile(file):
        raise UserError(
            f"MODEL.INIT_WEIGHTS: no checkpoint in {source.folder}; "
            "expected the output folder of a finished run, or a checkpoint file"
        )
    own = trainer.backbone.weights_hash
    backbone = results.read_source(file).get("backbone", {}).get("sha256", own)
    if backbone != own:
        raise UserError(
            f"MODEL.INIT_WEIGHTS: {file} was trained on another backbone ({backbone[:12]}, the run uses {own[:12]})"
        )
    checkpoint, trained = read(trainer, file)
    state = checkpoint["state_dict"]
    trainer.set_head(trainer.head_from_checkpoint(trained, state), trained, training=False)
    print(f"starts from {file} (epoch {checkpoint['epoch']}, {len(trained)} classes)")
    head = trainer.method_head(classnames)  # shows that it can have these names; but it need not be trainable
    if not trainer.trains:
        trainer.selection = f"source run: {checkpoint.get('selection', 'last epoch')}"
        return head
    return head if trained == list(classnames) else trainer.head_from_checkpoint(classnames, state)


def resume(trainer, directory: str) -> int:
    """Continues from the newest checkpoint of `directory`; -> the epoch to start with, 0 where there is nothing to
    continue.

    Raises UserError where the checkpoint was trained over other class names.
    """
    path = Checkpoints(directory, trainer.MODEL_NAME).newest()
    if path is None or not os.path.exists(path):
        return 0
    checkpoint, names = read(trainer, path)
    wanted = trainer.head_classnames()
    if names != wanted:
        raise UserError(
            f"{path} was trained over other class names or another order ({len(names)} names, this run has "
            f"{len(wanted)}); use another --output-dir"
        )
    if trainer.trains and not checkpoint.get("optimizer"):
        raise UserError(
            f"{path} has no optimiser state to resume from; use another --output-dir, or --model-dir to evaluate it"
        )
    trainer.set_head(trainer.head_from_checkpoint(names, checkpoint["state_dict"]), names)
    if trainer.trains:
        trainer._optims[trainer.MODEL_NAME].load_state_dict(checkpoint["optimizer"])
        trainer._scheds[trainer.MODEL_NAME].load_state_dict(checkpoint["scheduler"])
        if trainer.scaler and checkpoint.get("scaler"):
            trainer.scaler.load_state_dict(checkpoint["scaler"])
    trainer.best_result = checkpoint.get("best_result", trainer.best_result)
    trainer.history = list(checkpoint.get("history", []))
    for stage, seconds in checkpoint.get("seconds", {}).items():
        trainer.watch.add(stage, seconds)
    print(f"resumed {path} after {checkpoint['epoch']} epochs")
    return checkpoint["epoch"] if trainer.trains else 0
