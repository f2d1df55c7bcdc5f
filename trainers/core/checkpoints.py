"""What a run keeps while it trains: checkpoint files under Dassl's names, a rolling one, and what a signal does to it.

Each file has a digest of its content, which the checksums of the file format cannot replace: whoever edits a file sets
them too.
"""

import copy
import hashlib
import math
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress

import numpy as np
import torch
from dassl.utils import load_checkpoint, save_checkpoint

from .files import UserError

BEST = "model-best.pth.tar"
ROLLING = "model-rolling.pth.tar"  # overwritten while training goes on, removed when the last epoch is saved
NUMBERED = r"model\.pth\.tar-(\d+)"
POINTER = "checkpoint"  # a text file with the name of the newest
# What every checkpoint must hold, and what it may: stock CoOp's hold less, older ones no identity and no digest.
NEEDED = {"state_dict": dict, "epoch": int}
OPTIONAL = {"classnames": list, "optimizer": dict, "scheduler": dict, "scaler": dict, "best_result": float}
OPTIONAL |= {"seconds": dict, "history": list, "selection": str, "settings": str, "optimizers": list, "identity": dict}
UNFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
SHARE = 0.01  # of the time that copies of the state may take
STOPS = ("SIGINT", "SIGTERM", "SIGHUP")
TWICE = 0.5  # seconds within which a second signal is the first one's echo: a cluster and a launcher may both send it


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
        self.rolling = Rolling(lambda state: self.write(state, name=ROLLING))

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


class Rolling:
    """A context manager around a loop that offers its state after each round. It saves one now and then, by
    `write(state)`; what is newer than the last saving is saved when the run is interrupted."""

    def __init__(self, write: Callable[[dict], None]):
        self.write = write
        self.saved_at = self.next_copy = -math.inf
        self.kept: dict | None = None  # a copy of what was offered since

    def offer(self, state: Callable[[], dict], seconds: float):
        """Saves `state()` if the last saving was `seconds` ago, else keeps a copy of it, where that costs little."""
        now = time.monotonic()
        if now - self.saved_at >= seconds:
            self.write(state())
            self.saved_at, self.kept = time.monotonic(), None
        elif now >= self.next_copy:
            self.kept = copy.deepcopy(state())
            copied = time.monotonic()
            self.next_copy = copied + (copied - now) / SHARE

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, Interrupted) and self.kept is not None:
            self.write(self.kept)


# ---- signals


class Interrupted(KeyboardInterrupt):
    """Raised by the first signal, wherever the run is. A KeyboardInterrupt, which loader workers know how to take."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number

    @property
    def code(self) -> int:
        """The exit code of a process that the signal ended: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number

    def __str__(self):
        return f"interrupted by {signal.Signals(self.number).name}; the same command goes on from the last checkpoint"


@contextmanager
def interruptible():
    """Within it the first signal raises Interrupted, a second one ends the process at once; an ignored one (nohup)
    stays so. For the main thread, where alone Python has signals."""
    owner, first = os.getpid(), []

    def obey(number, frame):
        if os.getpid() != owner:  # a worker that was forked while this held: the signal does what it always does
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not first:
            first.append(time.monotonic())
            raise Interrupted(number)
        elif time.monotonic() - first[0] > TWICE:
            for worker in multiprocessing.active_children():
                worker.kill()
            os._exit(128 + number)

    numbers = [getattr(signal, name) for name in STOPS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, obey)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
