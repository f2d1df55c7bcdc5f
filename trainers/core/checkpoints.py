"""The checkpoint files of a run, under Dassl's names, a rolling one among them; and heads loaded from them.

Each file has a digest of its content, which the checksums of the file format cannot replace: whoever edits a file sets
them too.
"""

import hashlib
import math
import os
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from dassl.utils import load_checkpoint, save_checkpoint
from torch import nn

from .config import options_of, parts_of
from .files import UserError, results_beside
from .identity import FILES, TEMPLATE, as_recorded, fingerprint
from .metrics import top1

BEST = "model-best.pth.tar"
ROLLING = "model-rolling.pth.tar"  # overwritten while training goes on, removed when an epoch's own is saved
NUMBERED = "model.pth.tar-"  # and how many epochs are done
COPY_SECONDS = 5  # between copies of a state in memory: one of a generator takes some hundredths of a second
APPLIED = ("PREC", "CHUNK", "ROWS")  # options that only say how a model is computed


# ---- one file


def write(state: dict, folder: str, name: str = "", is_best: bool = False):
    """`state` with its digest, atomically, as model.pth.tar-<state["epoch"]> unless it has another `name`."""
    save_checkpoint({**state, "digest": digest_of(state)}, folder, is_best=is_best, model_name=name)


def read(path: str) -> dict:
    """The state that `write`, or stock CoOp, wrote. Raises UserError where it is missing, damaged or no checkpoint."""
    state = load_checkpoint(path)
    digest = state.pop("digest", None)
    is_checkpoint = {"state_dict", "epoch"} <= state.keys()
    if not is_checkpoint or "identity" in state and digest != digest_of(state):
        raise UserError(
            f"{path} is damaged, or no checkpoint: it has no state_dict, or its content does not match its digest. "
            "Take another epoch with --load-epoch, or train it anew with --force"
        )
    return state


def digest_of(state: dict) -> str:
    """sha256 over names, types, shapes and bytes of all tensors in `state`, and over its other values."""
    digest = hashlib.sha256()

    def add(name, value):
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().contiguous()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy())
        elif isinstance(value, (dict, list, tuple)):
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                add(f"{name}.{key}", part)
        else:
            digest.update(f"{name} {value!r}\n".encode())

    add("", state)
    return digest.hexdigest()


# ---- those of a run


class Checkpoints:
    """Those in `directory`/`name`/; `directory` is a run's output folder."""

    def __init__(self, directory: str, name: str):
        self.directory, self.folder = directory, os.path.join(directory or "", name)

    def newest(self) -> str | None:
        """Path of the one to go on from: the rolling one, else that of the last epoch. (The best one is none: after it
        come an epoch's other files, which a run that goes on from it would not write.)"""
        if not self.directory:
            return None
        folder = Path(self.folder)
        if (folder / ROLLING).is_file():
            return str(folder / ROLLING)
        files = folder.glob(f"{NUMBERED}*[0-9]")  # others are being written
        epochs = [int(path.name.removeprefix(NUMBERED)) for path in files]
        return str(folder / f"{NUMBERED}{max(epochs)}") if epochs else None

    def find(self, epoch: int | None = None) -> str:
        """Path of the one after `epoch` epochs, else of the best one on validation where one was kept, else of the
        newest. Raises UserError where there is none."""
        best = os.path.join(self.folder, BEST)
        newest = best if os.path.exists(best) else self.newest()
        path = newest if epoch is None else os.path.join(self.folder, f"{NUMBERED}{epoch}")
        if path is None or not os.path.exists(path):
            where = path or f"in {self.folder}"
            raise UserError(f"no checkpoint {where}: expected the output folder of a run, or one of its epochs")
        return path

    def write(self, state: dict, name: str = "", is_best: bool = False):
        """Writes `state` atomically, as model.pth.tar-<state["epoch"]>, which takes the place of the rolling one,
        unless it has another `name`; nothing without a directory."""
        if self.directory:
            write(state, self.folder, name, is_best)
            if not name:
                Path(self.folder, ROLLING).unlink(missing_ok=True)

    def rewrite(self, **changes):
        """Puts `changes` into the file that counts."""
        path = self.find()
        self.write({**read(path), **changes}, name=os.path.basename(path))


class Rolling:
    """A context manager around a loop that offers its state after each round. It saves one now and then, by
    `write(state)`, and what is newer than that when the program is interrupted."""

    def __init__(self, write: Callable[[dict], None]):
        self.write, self.saved_at, self.copied_at = write, -math.inf, -math.inf
        self.copy: dict | None = None  # of a state that was not saved

    def offer(self, state: Callable[[], dict], seconds: float):
        """Saves `state()` if the last saving was `seconds` ago, else keeps a copy of it, now and then as well."""
        now = time.monotonic()
        if now - self.saved_at >= seconds:
            self.write(state())
            self.saved_at, self.copy = now, None
        elif now - self.copied_at >= COPY_SECONDS:
            self.copy, self.copied_at = deepcopy(state()), now

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, (KeyboardInterrupt, SystemExit)) and self.copy:
            self.write(self.copy)


# ---- a trained head


def open_head(trainer, place: str, parts, epoch: int | None = None, overridden=()) -> tuple[str, dict]:
    """Makes a saved head the trainer's, for evaluation -> (its file, what that holds). `place` is the output folder of
    a run, or a checkpoint file (also one of stock CoOp).

    Raises UserError where there is none, or it was trained otherwise than the trainer is configured (require_options).
    """
    path = place if os.path.isfile(place) else Checkpoints(place, trainer.MODEL_NAME).find(epoch)
    checkpoint = read(path)
    kept_best = (checkpoint.get("best_result") or -math.inf) > -math.inf
    if kept_best and epoch is None and path != place and os.path.basename(path) != BEST:
        raise UserError(f"{BEST} is missing beside {path}: train anew with --force, or take an epoch by --load-epoch")
    if not checkpoint.get("classnames"):  # stock CoOp's has none: they are those of the data
        trainer.open_data(training=False)
    names = list(checkpoint.get("classnames") or trainer.head_classnames())
    require_options(trainer, path, checkpoint.get("identity"), parts, overridden)
    trainer.set_head(trainer.head_from_checkpoint(names, checkpoint["state_dict"]), names, training=False)
    print(f"loaded {path} (epoch {checkpoint['epoch']}, {len(names)} classes)")
    return path, checkpoint


def require_options(trainer, path: str, recorded: dict | None, parts, overridden=()):
    """Raises UserError where a checkpoint with this recorded identity (stock CoOp's has none) was trained on another
    backbone or with other options of `parts` (the method, its plug-ins) than the trainer has, or on the same data set
    with another hand-written prompt. Keys in `overridden` may differ."""
    own, cfg, compared = trainer.backbone.weights_hash, trainer.cfg, {}
    weights = recorded["weights"] if recorded else results_beside(path).get("backbone", {}).get("sha256", own)
    if weights != own:
        raise UserError(f"{path} was trained on another backbone ({weights[:12]}, now {own[:12]})")
    if not recorded:
        return
    for part in parts:
        for name, default in options_of(part).items():
            key = f"TRAINER.{part.SECTION}.{name}"
            if name not in (*APPLIED, *FILES):
                compared[key] = recorded.get(key, as_recorded(default)), as_recorded(cfg.TRAINER[part.SECTION][name])
    alike = TEMPLATE in recorded and recorded["DATASET.NAME"] == cfg.DATASET.NAME  # 0.2.0 kept no template
    if alike and "DATASET.TEMPLATE" not in overridden:
        if cfg.DATASET.TEMPLATE is None:
            trainer.open_data(training=False)  # whose reader may have a prompt of its own
        compared["DATASET.TEMPLATE"] = recorded[TEMPLATE], " | ".join(trainer.templates)
    for key, (before, now) in compared.items():
        if before != now and key not in overridden:
            raise UserError(f"{path} was trained with {key} {before}, and it is now {now}: type {key} {before}")


def load_head(trainer, directory: str, epoch: int | None = None, overridden=()) -> str:
    """The head that a run saved, as it is evaluated -> a hash of its file."""
    path, checkpoint = open_head(trainer, directory, parts_of(type(trainer)), epoch, overridden)
    trainer.selection = checkpoint.get("selection", trainer.selection)
    trainer.temperature = checkpoint.get("temperature", 1.0)
    return fingerprint(path)


def head_of_run(trainer, place: str, classnames: list[str]) -> nn.Module:
    """The head over `classnames` with the parameters of another run. Raises UserError where there is none or it does
    not fit, ClassesUnsupported where it cannot have these names."""
    _, checkpoint = open_head(trainer, place, [type(trainer)])
    head = trainer.method_head(classnames)  # shows that it can have these names; but it need not be trainable
    if not trainer.trains:
        trainer.selection = f"source run: {checkpoint.get('selection', 'last epoch')}"
        return head
    if trainer.trained_classnames == list(classnames):
        return head
    return trainer.head_from_checkpoint(classnames, checkpoint["state_dict"])


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
        "scaler": trainer.scaler.state_dict(),
        "best_result": trainer.best_result,
        "seconds": dict(trainer.watch),
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
            raise UserError("TEST.FINAL_MODEL best_val needs validation images, and there are none: use last_step")
        accuracy = top1(trainer.logits(trainer.head, val_set.first()).argmax(1), val_set.labels)
        if accuracy > trainer.best_result:
            trainer.best_result = accuracy
            trainer.save_model(trainer.epoch, trainer.output_dir, model_name=BEST, val_result=accuracy)
    done, every = trainer.epoch + 1, trainer.cfg.TRAIN.CHECKPOINT_FREQ
    if done == trainer.max_epoch or (every > 0 and done % every == 0):
        trainer.save_model(trainer.epoch, trainer.output_dir)
    else:
        trainer.rolling.offer(lambda: state_of(trainer, done), trainer.cfg.TRAIN.CHECKPOINT_SECONDS)


def resume(trainer, directory: str) -> int:
    """Continues from the newest checkpoint of `directory`, which is this very run's (run.is_done) -> the epoch to start
    with, 0 where there is nothing to continue."""
    path = Checkpoints(directory, trainer.MODEL_NAME).newest()
    if path is None:
        return 0
    checkpoint, names = read(path), trainer.head_classnames()
    trainer.set_head(trainer.head_from_checkpoint(names, checkpoint["state_dict"]), names)
    if trainer.trains:
        trainer._optims[trainer.MODEL_NAME].load_state_dict(checkpoint["optimizer"])
        trainer._scheds[trainer.MODEL_NAME].load_state_dict(checkpoint["scheduler"])
        trainer.scaler.load_state_dict(checkpoint["scaler"])
    if trainer.keeps_best and directory != trainer.output_dir:
        trainer.checkpoints.write(read(os.path.join(os.path.dirname(path), BEST)), name=BEST)
    trainer.best_result, trainer.history = checkpoint["best_result"], list(checkpoint["history"])
    trainer.watch |= checkpoint["seconds"]  # of a stage that is gone through again the longer time
    print(f"resumed {path} after {checkpoint['epoch']} epochs")
    return checkpoint["epoch"] if trainer.trains else 0
