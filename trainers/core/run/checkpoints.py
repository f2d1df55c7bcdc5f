"""The checkpoint files of a run's head: Dassl's files and folders, a rolling one, and which of them counts. Each has a
digest of its content, which the checksums of the file format can not replace: whoever edits a file sets them too."""

import hashlib
import os
import re
from contextlib import contextmanager, suppress

import numpy as np
import torch
from dassl.utils import load_checkpoint, save_checkpoint

from ..errors import UserError
from .rolling import Rolling

BEST = "model-best.pth.tar"
ROLLING = "model-rolling.pth.tar"  # overwritten while training goes on, removed when the last epoch is saved
NUMBERED = r"model\.pth\.tar-(\d+)"
POINTER = "checkpoint"  # a text file with the name of the newest
# What every checkpoint must hold, and what it may: stock CoOp's hold less, older ones no identity and no digest.
NEEDED = {"state_dict": dict, "epoch": int}
OPTIONAL = {"classnames": list, "optimizer": dict, "scheduler": dict, "scaler": dict, "best_result": float}
OPTIONAL |= {"seconds": dict, "history": list, "selection": str, "settings": str, "optimizers": list, "identity": dict}
UNFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


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
def understood(path: str):
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


class Checkpoints:
    """Those in `directory`/`name`/; `directory` is a run's output folder."""

    def __init__(self, directory: str, name: str):
        self.directory, self.folder = directory, os.path.join(directory or "", name)
        self.rolling = Rolling(lambda state: self.write(state, name=ROLLING))

    def newest(self) -> str | None:
        """Path of the one to go on from: what the pointer names, else the rolling one, else that of the last epoch.

        The best one is none: after it come an epoch's other files, which a run that goes on from it would not write.
        """
        if not self.directory or not os.path.isdir(self.folder):
            return None
        epochs = [int(found[1]) for name in os.listdir(self.folder) if (found := re.fullmatch(NUMBERED, name))]
        last = f"model.pth.tar-{max(epochs, default=0)}"
        for name in (self._pointed(), ROLLING, last):
            if name != BEST and os.path.isfile(path := os.path.join(self.folder, name)):
                return path
        return None

    def _pointed(self):
        path = os.path.join(self.folder, POINTER)
        if not os.path.isfile(path):  # to open a pipe would wait for ever
            return ""
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return os.path.basename(file.readline(256).strip())
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
        """Writes `state` atomically, as model.pth.tar-<state["epoch"]> unless it has another `name`."""
        write(state, self.folder, name, is_best)
        self.rolling.kept = None  # it is older than this

    def rewrite_final(self, **changes):
        """Puts `changes` into the file that counts."""
        path = self.that_counts()
        if path is None:
            raise UserError(f"no checkpoint in {self.folder} to write {', '.join(changes)} into")
        self.write({**read(path), **changes}, name=os.path.basename(path))

    def drop_rolling(self):
        with suppress(FileNotFoundError):
            os.remove(os.path.join(self.folder, ROLLING))
