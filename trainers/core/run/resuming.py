"""A trainer's state in a checkpoint and back: what is saved, resuming, loading for evaluation, starting from another
run."""

import math
import os
from pathlib import Path

from torch import nn

from ..errors import UserError
from . import checkpoints, identity, results
from .checkpoints import BEST, Checkpoints, understood
from .metrics import top1


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
        "identity": trainer.identity,
    }


def keep(trainer):
    """After an epoch: the best one on validation where that counts, then the epoch's own checkpoint, which a run that
    is cut off in between makes again."""
    if trainer.keeps_best:
        found = trainer.data.val_set
        if found is None:
            raise UserError(
                "TEST.FINAL_MODEL best_val needs validation images, and this dataset exposes none; use last_step"
            )
        accuracy = top1(trainer.logits(trainer.head, found.first()).argmax(1), found.labels)
        if accuracy > trainer.best_result:
            trainer.best_result = accuracy
            trainer.save_model(trainer.epoch, trainer.output_dir, model_name=BEST, val_result=accuracy)
    done, every = trainer.epoch + 1, trainer.cfg.TRAIN.CHECKPOINT_FREQ
    if done == trainer.max_epoch or (every > 0 and done % every == 0):
        trainer.save_model(trainer.epoch, trainer.output_dir)
    else:
        trainer.checkpoints.rolling.offer(lambda: state_of(trainer, done), trainer.cfg.TRAIN.CHECKPOINT_SECONDS)
    if done == trainer.max_epoch:
        trainer.checkpoints.drop_rolling()


def is_done(trainer) -> bool:
    """Whether the output folder holds this very run, finished.

    Raises UserError where it, or the folder RESUME, holds another one: before anything is written.
    """
    path = os.path.join(trainer.output_dir, results.NAME)
    if trainer.output_dir and os.path.exists(path):
        found = results.read(path)
        identity.require_same(trainer.identity, found.get("identity"), path)
        if found.get("identity"):
            print(f"done already: {path}: {results.summary(found)}")
            return True
    for folder in dict.fromkeys(filter(None, (trainer.output_dir, trainer.cfg.RESUME))):
        files = {str(file) for file in Path(folder).glob("*/*.pth.tar")}  # the head's, a generator's
        for file in sorted(files | {Checkpoints(folder, trainer.MODEL_NAME).newest()} - {None}):
            identity.require_same(trainer.identity, checkpoints.read(file).get("identity"), file)
    return False


def read(trainer, path: str) -> tuple[dict, list[str]]:
    """(checkpoint, class names) of a file; a stock CoOp's has no names: then they are those of the data."""
    checkpoint = checkpoints.read(path)
    if not checkpoint.get("classnames"):
        trainer.open_data(training=False)
    return checkpoint, list(checkpoint.get("classnames") or trainer.head_classnames())


def load_head(trainer, directory: str, epoch: int | None = None):
    """Makes the head saved in the output folder `directory` the trainer's, for evaluation."""
    path = Checkpoints(directory, trainer.MODEL_NAME).find(epoch)
    checkpoint, names = read(trainer, path)
    if epoch is None:
        require_best(trainer, path, checkpoint)
    trainer.set_head(head_of(trainer, path, names, checkpoint), names, training=False)
    trainer.selection = checkpoint.get("selection", trainer.selection)
    print(f"loaded {path} (epoch {checkpoint['epoch']}, {len(names)} classes)")


def head_of(trainer, path: str, names: list[str], checkpoint: dict) -> nn.Module:
    """The head over `names` with the parameters of the `checkpoint` read from `path`. Raises UserError."""
    with understood(path):
        return trainer.head_from_checkpoint(names, checkpoint["state_dict"])


def require_best(trainer, path: str, checkpoint: dict):
    """Raises UserError where the best epoch on validation should lie beside `path` and does not: the last one is no
    stand-in for it."""
    best = os.path.join(os.path.dirname(path), BEST)
    kept = trainer.keeps_best or (checkpoint.get("best_result") or -math.inf) > -math.inf
    if kept and not os.path.exists(best):
        raise UserError(
            f"{best} is missing, the best epoch on validation (TEST.FINAL_MODEL best_val); {path} is only the last. "
            "Train the run anew with --force, or take an epoch by --load-epoch"
        )


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
    if file != path:
        require_best(trainer, file, checkpoint)
    trainer.set_head(head_of(trainer, file, trained, checkpoint), trained, training=False)
    print(f"starts from {file} (epoch {checkpoint['epoch']}, {len(trained)} classes)")
    head = trainer.method_head(classnames)  # shows that it can have these names; but it need not be trainable
    if not trainer.trains:
        trainer.selection = f"source run: {checkpoint.get('selection', 'last epoch')}"
        return head
    return head if trained == list(classnames) else head_of(trainer, file, classnames, checkpoint)


def resume(trainer, directory: str) -> int:
    """Continues from the newest checkpoint of `directory`; -> the epoch to start with, 0 where there is nothing to
    continue.

    Raises UserError where the checkpoint was trained over other class names, or cannot be continued.
    """
    path = Checkpoints(directory, trainer.MODEL_NAME).newest()
    if path is None:
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
    require_best(trainer, path, checkpoint)
    trainer.set_head(head_of(trainer, path, names, checkpoint), names)
    with understood(path):
        if trainer.trains:
            trainer._optims[trainer.MODEL_NAME].load_state_dict(checkpoint["optimizer"])
            trainer._scheds[trainer.MODEL_NAME].load_state_dict(checkpoint["scheduler"])
            if trainer.scaler and checkpoint.get("scaler"):
                trainer.scaler.load_state_dict(checkpoint["scaler"])
        if trainer.keeps_best and directory != trainer.output_dir:
            trainer.checkpoints.write(checkpoints.read(os.path.join(os.path.dirname(path), BEST)), name=BEST)
        trainer.best_result = checkpoint.get("best_result", trainer.best_result)
        trainer.history = list(checkpoint.get("history", []))
        trainer.watch.go_on_from(checkpoint.get("seconds", {}))
    print(f"resumed {path} after {checkpoint['epoch']} epochs")
    return checkpoint["epoch"] if trainer.trains else 0
