"""The checkpoint files of a run, under Dassl's names, a rolling one among them; and heads loaded from them.

Each file has a digest of its content, which the checksums of the file format cannot replace: whoever edits a file sets
them too.
"""

import hashlib
import math
import os
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from dassl.utils import load_checkpoint, save_checkpoint
from torch import nn

from .config import options_of, parts_of
from .files import UserError, results_beside
from .identity import FILES, TEMPLATE, as_recorded, fingerprint
from .metrics import top1

BEST = "model-best.pth.tar"
ROLLING = "model-rolling.pth.tar"  # overwritten while training goes on, removed when the last epoch is saved
NUMBERED = r"model\.pth\.tar-(\d+)"
POINTER = "checkpoint"  # a text file with the name of the newest
# What every checkpoint must hold, and what it may: stock CoOp's hold less, older ones no identity and no digest.
NEEDED = {"state_dict": dict, "epoch": int}
OPTIONAL = {"classnames": list, "optimizer": dict, "scheduler": dict, "scaler": dict, "best_result": float}
OPTIONAL |= {"seconds": dict, "history": list, "selection": str, "settings": str, "optimizers": list, "identity": dict}
OPTIONAL |= {"temperature": float}
APPLIED = ("PREC", "CHUNK", "ROWS")  # options that only say how a model is computed
UNFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


# ---- one file


def write(state: dict, folder: str, name: str = "", is_best: bool = False):
    """`state` with its digest, atomically, as model.pth.tar-<state["epoch"]> unless it has another `name`."""
    save_checkpoint({**state, "digest": digest_of(state)}, folder, is_best=is_best, model_name=name)


def read(path: str) -> dict:
    """The state that `write`, or stock CoOp, wrote. Raises UserError where it is missing, damaged or no checkpoint."""
    state = load_checkpoint(path)
    if not isinstance(state, dict):
        raise damaged(path, f"it holds a {type(state).__name__}")
    for key, kind in {**NEEDED, **OPTIONAL}.items():
        if not isinstance(state.get(key), kind) and (key in NEEDED or state.get(key) is not None):
            raise damaged(path, f"its {key} is a {type(state.get(key)).__name__}, not a {kind.__name__}")
    digest = state.pop("digest", None)
    if "identity" in state and digest != digest_of(state):
        raise damaged(path, "its content does not match its digest")
    return state


def damaged(path: str, reason: str) -> UserError:
    return UserError(
        f"{path} is damaged, or no checkpoint: {reason}. Take another epoch with --load-epoch, or train it anew with "
        "--force"
    )


@contextmanager
def reading(path: str):
    """Within it, content of `path` that has another form than expected raises UserError."""
    try:
        yield
    except UserError:
        raise
    except UNFIT as error:
        raise damaged(path, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error


def digest_of(state: dict) -> str:
    """sha256 over names, types, shapes and bytes of all tensors in `state`, and over its other values."""
    digest = hashlib.sha256()

    def add(name, value):
        if hasattr(value, "state_dict"):  # as Dassl writes an object
            value = value.state_dict()
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().contiguous()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy())
        elif isinstance(value, (dict, list, tuple)):
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                add(f"{name}.{key}", part)
        else:
            digest.update(f"{name} {value.item() if isinstance(value, np.generic) else value!r}\n".encode())

    add("", state)
    return digest.hexdigest()


# ---- those of a run


class Checkpoints:
    """Those in `directory`/`name`/; `directory` is a run's output folder."""

    def __init__(self, directory: str, name: str):
        self.directory, self.folder = directory, os.path.join(directory or "", name)

    def newest(self) -> str | None:
        """Path of the one to go on from: what the pointer names, else the rolling one, else that of the last epoch.

        The best one is none: after it come an epoch's other files, which a run that goes on from it would not write.
        """
        if not self.directory or not os.path.isdir(self.folder):
            return None
        epochs = [int(match[1]) for name in os.listdir(self.folder) if (match := re.fullmatch(NUMBERED, name))]
        last = f"model.pth.tar-{max(epochs, default=0)}"
        for name in (self._pointed(), ROLLING, last):
            if name != BEST and os.path.isfile(path := os.path.join(self.folder, name)):
                return path
        return None

    def _pointed(self):
        try:
            with open(os.path.join(self.folder, POINTER), encoding="utf-8", errors="replace") as file:
                return os.path.basename(file.readline().strip())
        except OSError:
            return ""

    def that_counts(self) -> str | None:
        """Path of the best one on validation where one was kept, else of the newest, or None."""
        best = os.path.join(self.folder, BEST)
        return best if os.path.exists(best) else self.newest()

    def find(self, epoch: int | None = None) -> str:
        """Path of the one after `epoch` epochs, else of the one that counts. Raises UserError where there is none."""
        path = self.that_counts() if epoch is None else os.path.join(self.folder, f"model.pth.tar-{epoch}")
        if path is None or not os.path.exists(path):
            raise UserError(
                f"no checkpoint {path or f'in {self.folder}'}; --model-dir expects the output folder of a finished "
                "run, --load-epoch one of its epochs"
            )
        return path

    def write(self, state: dict, name: str = "", is_best: bool = False):
        """Writes `state` atomically, as model.pth.tar-<state["epoch"]> unless it has another `name`; nothing without a
        directory."""
        if self.directory:
            write(state, self.folder, name, is_best)

    def rewrite_final(self, **changes):
        """Puts `changes` into the file that counts."""
        path = self.that_counts()
        if path is None:
            raise UserError(f"no checkpoint in {self.folder} to write {', '.join(changes)} into")
        self.write({**read(path), **changes}, name=os.path.basename(path))

    def drop_rolling(self):
        if self.directory:
            Path(self.folder, ROLLING).unlink(missing_ok=True)


# ---- a trained head


def read_head(trainer, path: str) -> tuple[dict, list[str]]:
    """(checkpoint, class names) of a file; a stock CoOp's has no names: then they are those of the data."""
    checkpoint = read(path)
    if not checkpoint.get("classnames"):
        trainer.open_data(training=False)
    return checkpoint, list(checkpoint.get("classnames") or trainer.head_classnames())


def require_options(trainer, path: str, checkpoint: dict, parts, overridden=()):
    """Raises UserError where a checkpoint was trained with other options of `parts` (the method, its plug-ins) than the
    trainer has, or on the same data set with another hand-written prompt. Keys in `overridden` may differ."""
    recorded, cfg = checkpoint.get("identity") or {}, trainer.cfg
    for part in parts:
        for name, default in options_of(part).items():
            key, value = f"TRAINER.{part.SECTION}.{name}", as_recorded(cfg.TRAINER[part.SECTION][name])
            before = recorded.get(key, as_recorded(default)) if recorded else value
            if before != value and name not in (*APPLIED, *FILES) and key not in overridden:
                raise UserError(f"{path} was trained with {key} {before}, and it is now {value}: type {key} {before}")
    if TEMPLATE in recorded and recorded["DATASET.NAME"] == cfg.DATASET.NAME and "DATASET.TEMPLATE" not in overridden:
        if cfg.DATASET.TEMPLATE is None:
            trainer.open_data(training=False)  # whose reader may have a prompt of its own
        before, now = recorded[TEMPLATE], " | ".join(trainer.templates)
        if before != now:
            raise UserError(
                f"{path} was trained with DATASET.TEMPLATE {before!r}, and it is now {now!r}: type the former"
            )


def load_head(trainer, directory: str, epoch: int | None = None, overridden=()) -> str:
    """Makes the head saved in the output folder `directory` the trainer's, for evaluation -> a hash of its file."""
    path = Checkpoints(directory, trainer.MODEL_NAME).find(epoch)
    checkpoint, names = read_head(trainer, path)
    require_options(trainer, path, checkpoint, parts_of(type(trainer)), overridden)
    if epoch is None:
        require_best(trainer, path, checkpoint)
    trainer.set_head(head_of(trainer, path, names, checkpoint), names, training=False)
    trainer.selection = checkpoint.get("selection", trainer.selection)
    trainer.temperature = checkpoint.get("temperature", 1.0)
    print(f"loaded {path} (epoch {checkpoint['epoch']}, {len(names)} classes)")
    return fingerprint(path)


def head_of(trainer, path: str, names: list[str], checkpoint: dict) -> nn.Module:
    """The head over `names` with the parameters of the `checkpoint` read from `path`. Raises UserError."""
    with reading(path):
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
    backbone = results_beside(file).get("backbone", {}).get("sha256", own)
    if backbone != own:
        raise UserError(
            f"MODEL.INIT_WEIGHTS: {file} was trained on another backbone ({backbone[:12]}, the run uses {own[:12]})"
        )
    checkpoint, trained = read_head(trainer, file)
    require_options(trainer, file, checkpoint, [part for part in parts_of(type(trainer)) if part is type(trainer)])
    if file != path:
        require_best(trainer, file, checkpoint)
    trainer.set_head(head_of(trainer, file, trained, checkpoint), trained, training=False)
    print(f"starts from {file} (epoch {checkpoint['epoch']}, {len(trained)} classes)")
    head = trainer.method_head(classnames)  # shows that it can have these names; but it need not be trainable
    if not trainer.trains:
        trainer.selection = f"source run: {checkpoint.get('selection', 'last epoch')}"
        return head
    return head if trained == list(classnames) else head_of(trainer, file, classnames, checkpoint)


# ---- saving and resuming


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
        "temperature": trainer.temperature,
        "identity": trainer.identity,
    }


def keep(trainer):
    """After an epoch: the best one on validation where that counts, then the epoch's own checkpoint, which a run that
    is cut off in between makes again."""
    if trainer.keeps_best:
        trainer.see_through_head()
        val_set = trainer.data.val_set
        if val_set is None:
            raise UserError(
                "TEST.FINAL_MODEL best_val needs validation images, and this dataset exposes none; use last_step"
            )
        accuracy = top1(trainer.logits(trainer.head, val_set.first()).argmax(1), val_set.labels)
        if accuracy > trainer.best_result:
            trainer.best_result = accuracy
            trainer.save_model(trainer.epoch, trainer.output_dir, model_name=BEST, val_result=accuracy)
    done, every = trainer.epoch + 1, trainer.cfg.TRAIN.CHECKPOINT_FREQ
    if done == trainer.max_epoch or (every > 0 and done % every == 0):
        trainer.save_model(trainer.epoch, trainer.output_dir)
    else:
        trainer.rolling.offer(lambda: state_of(trainer, done), trainer.cfg.TRAIN.CHECKPOINT_SECONDS)
    if done == trainer.max_epoch:
        trainer.checkpoints.drop_rolling()


def resume(trainer, directory: str) -> int:
    """Continues from the newest checkpoint of `directory`; -> the epoch to start with, 0 where there is nothing to
    continue.

    Raises UserError where the checkpoint was trained over other class names, or cannot be continued.
    """
    path = Checkpoints(directory, trainer.MODEL_NAME).newest()
    if path is None:
        return 0
    checkpoint, names = read_head(trainer, path)
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
    with reading(path):
        if trainer.trains:
            trainer._optims[trainer.MODEL_NAME].load_state_dict(checkpoint["optimizer"])
            trainer._scheds[trainer.MODEL_NAME].load_state_dict(checkpoint["scheduler"])
            if trainer.scaler and checkpoint.get("scaler"):
                trainer.scaler.load_state_dict(checkpoint["scaler"])
        if trainer.keeps_best and directory != trainer.output_dir:
            trainer.checkpoints.write(read(os.path.join(os.path.dirname(path), BEST)), name=BEST)
        trainer.best_result = checkpoint.get("best_result", trainer.best_result)
        trainer.history = list(checkpoint.get("history", []))
        trainer.watch.go_on_from(checkpoint.get("seconds", {}))
    print(f"resumed {path} after {checkpoint['epoch']} epochs")
    return checkpoint["epoch"] if trainer.trains else 0
