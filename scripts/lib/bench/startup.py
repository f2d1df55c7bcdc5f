"""CPU seconds of what is no computation: the start of train.py, and short runs in a worker of the launcher."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median

from lib.runs import ROOT, Run
from lib.worker import Worker

EVERYTHING = ["-c", "import torchvision, train; train.with_defaults()"]  # what train.py once did first, for --help too
STARTS = {  # (before, now): arguments of Python
    "train.py --help": (EVERYTHING, ["train.py", "--help"]),
    "import of train.py and the trainers": (EVERYTHING, ["-c", "import train; train.with_defaults()"]),
}
TRAINERS, SEEDS = ("ZeroshotCLIP", "Tip_Adapter", "CLIP_Adapter"), (1, 2, 3)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def rows(repeats: int) -> list[dict]:
    """Medians of `repeats` turns: seconds before and now, their ratio, and what it costs now in imports of PyTorch."""
    steps = {what: [lambda words=words: python(words) for words in pair] for what, pair in STARTS.items()}
    steps[f"{len(SEEDS)} runs each of {', '.join(TRAINERS)}"] = [in_processes, in_a_worker]
    unit, *measured = medians([lambda: python(["-c", "import torch"]), *sum(steps.values(), [])], repeats)
    pairs = zip(steps, measured[::2], measured[1::2], strict=True)
    return [
        {"what": what, "before, s": before, "now, s": now, "ratio": before / now, "imports of torch": now / unit}
        for what, before, now in pairs
    ]


def medians(steps: list[Callable], repeats: int) -> list[float]:
    """CPU seconds of the processes that each step starts and waits for. They take turns."""
    return [median(column) for column in zip(*([cpu_seconds(step) for step in steps] for _ in range(repeats)))]


def cpu_seconds(step: Callable) -> float:
    begun = os.times()
    step()
    ended = os.times()
    return ended.children_user - begun.children_user + ended.children_system - begun.children_system


def python(words: list[str]):
    subprocess.run([sys.executable, *words], cwd=ROOT, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)


def commands(output: str) -> list[list[str]]:
    found = product(TRAINERS, SEEDS)
    return [
        Run("base2new", "caltech101", trainer, "miniclip", seed, output=output).command() for trainer, seed in found
    ]


def in_processes():
    with tempfile.TemporaryDirectory() as output:
        for words in commands(output):
            python(words)


def in_a_worker():
    worker = Worker(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as output:
        log = Path(output, "log.txt")
        log.touch()
        for words in commands(output):
            worker.start(words, log)
            while worker.poll() is None:
                time.sleep(0.1)
            if worker.code:
                raise RuntimeError(log.read_text())
    worker.close()
