"""Tiny runs of train.py as processes of their own, and the comparison with a run that nothing disturbed (Linux only).

Of the product the lab knows train.py's command line, results.json and the checkpoints, nothing else. A run is forked
from this process, which has PyTorch loaded already: it takes one or two seconds. A case may end in two ways: with the
metrics and tensors of the undisturbed run, or refused in a sentence. Anything else is a failure.
"""

import contextlib
import functools
import json
import multiprocessing
import os
import runpy
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
LIMIT, GRACE = 180.0, 15.0  # seconds that a run may take, and that its workers may outlive it
SMALL = (
    "TASK base2new DATASET.NUM_SHOTS 2 OPTIM.MAX_EPOCH 3 DATALOADER.TRAIN_X.BATCH_SIZE 8 TRAIN.CHECKPOINT_SECONDS 0.0 "
    "DATALOADER.NUM_WORKERS 1 FEATURES.VIEWS 1"
)
SHIP = "TRAINER.SHIP.EPOCHS 3 TRAINER.SHIP.BATCH_SIZE 8 TRAINER.SHIP.HIDDEN_DIM 32"
KINDS = {  # what is run: its trainer and the options that make it quick
    "CoOp": ("CoOp", ""),
    "CoOp_SHIP": ("CoOp_SHIP", SHIP),
    "Tip_Adapter_F_SHIP": ("Tip_Adapter_F_SHIP", SHIP),
    "f_VAEGAN": ("f_VAEGAN", "TRAINER.F_VAEGAN.HIDDEN_DIM 16 TRAINER.F_VAEGAN.EPOCHS 3 TRAINER.F_VAEGAN.SYNTHETIC 5"),
    "PVA": ("PVA", ""),
    "CoOp_GATE": ("CoOp_GATE", ""),
    "best epoch": ("CoOp", "TEST.FINAL_MODEL best_val"),
    "images": ("CoOp", "TASK fewshot"),
}


@dataclass
class Done:
    """How a process ended. `left`: processes that outlived it."""

    code: int
    text: str
    hung: bool
    left: int

    @property
    def fault(self) -> str:
        """What no run should do to its user; "" where it ended well or was refused in a sentence."""
        if self.hung:
            return "it did not end"
        if self.left:
            return f"{self.left} processes left behind"
        if "Traceback (most recent call last)" in self.text or self.code < 0:
            return f"exit code {self.code}:\n{self.text[-2000:]}"
        return "" if self.code == 0 or "error: " in self.text else f"exit code {self.code} without a sentence"


class Lab:
    """`folder` takes the images, the runs and their logs."""

    def __init__(self, folder):
        self.folder, self.cases = Path(folder).resolve(), 0
        make_images(self.folder / "images")

    def new(self) -> Path:
        """A folder for one case's run."""
        self.cases += 1
        return self.folder / f"case{self.cases}"

    def command(self, kind: str, out, flags=(), options=()) -> list[str]:
        """train.py's arguments for a kind of run that writes into `out`; what is given last wins."""
        trainer, own = KINDS[kind]
        dataset, root = ("imagefolder", ["--root", self.folder / "images"]) if kind == "images" else ("eurosat", [])
        words = ["--trainer", trainer, "--backbone", "MiniCLIP", "--seed", 1, "--output-dir", out, *root]
        words += ["--dataset-config-file", ROOT / f"configs/datasets/{dataset}.yaml", *flags]
        words += [*SMALL.split(), "FEATURES.DIR", f"{out}.features", *own.split(), *options]
        return [str(word) for word in words]

    def start(self, kind: str, out, flags=(), options=(), prepare=None) -> "Process":
        """`prepare` is called in the new process before the run starts."""
        return Process(self.command(kind, out, flags, options), Path(f"{out}.log"), prepare)

    def run(self, *arguments, **named) -> Done:
        return self.start(*arguments, **named).wait()

    @functools.cache  # noqa: B019  (the lab lives as long as the session)
    def whole(self, kind: str) -> tuple[Path, float]:
        """(folder, seconds) of a run of this kind that nothing disturbed."""
        out, began = self.new(), time.monotonic()
        done = self.run(kind, out)
        assert done.code == 0 and not done.fault, done.text
        return out, time.monotonic() - began

    def check_continues(self, kind: str, out):
        """The disturbed run in `out`, started once more, is refused in a sentence or ends like an undisturbed one."""
        done = self.run(kind, out)
        assert not done.fault, done.fault
        if done.code == 0:
            different = difference(self.whole(kind)[0], out)
            assert not different, different


class Process:
    """train.py with these arguments, in a session of its own."""

    def __init__(self, words, log: Path, prepare=None):
        self.log = log
        torch.set_num_threads(1)  # a pool of threads would not survive the fork
        fork = multiprocessing.get_context("fork")
        self.process = fork.Process(target=_train, args=(words, log, prepare))
        self.process.start()

    def wait(self, limit=LIMIT) -> Done:
        """Waits until it ends; after `limit` seconds it is killed (SIGKILL)."""
        self.process.join(limit)
        hung = self.process.exitcode is None
        self.process.kill()
        self.process.join()
        end = time.monotonic() + GRACE
        while (left := members(self.process.pid)) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return Done(self.process.exitcode, text, hung, len(left))


def _train(words, log, prepare):
    os.setsid()
    os.chdir(ROOT)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 1)
    os.dup2(1, 2)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", buffering=1, closefd=False) for number in (1, 2))
    sys.argv = ["train.py", *words]
    if prepare:
        prepare()
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")


def members(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
            if state != "Z" and int(its_session) == session:
                found.append(int(stat.parent.name))
    return found


def difference(whole: Path, out: Path) -> str:
    """The first metric or tensor of `out` that is not the one of `whole`; "" where all are equal."""
    for path in sorted(path for path in whole.rglob("*") if path.is_file()):
        name, other = path.relative_to(whole), out / path.relative_to(whole)
        if path.name == "results.json":
            if metrics(other) != metrics(path):
                return f"{name}: {metrics(other)} instead of {metrics(path)}"
        elif ".pth.tar" in path.name or path.suffix == ".safetensors":
            if not other.is_file():
                return f"{name} is missing"
            expected, found = tensors(path), tensors(other)
            if expected.keys() != found.keys() or not all(torch.equal(expected[key], found[key]) for key in expected):
                return f"{name} holds other tensors"
    return ""


def tensors(path: Path) -> dict:
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)["state_dict"]


def metrics(path: Path):
    """The metrics of a results.json; None where there is none."""
    return json.loads(path.read_text(encoding="utf-8"))["metrics"] if path.is_file() else None


def make_images(folder: Path):
    """A folder of small coloured images, a sub-folder per class."""
    for label, name in enumerate(("ant", "crab", "dolphin")):
        (folder / name).mkdir(parents=True)
        for i in range(8):
            noise = np.random.default_rng([label, i]).integers(0, 128, (40, 48, 3))
            pixels = noise + 100 * np.eye(3, dtype=int)[label]
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{name}_{i}.png")
