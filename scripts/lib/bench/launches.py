"""CPU seconds of processes: the start of train.py, and lists of runs by the launcher beside a process for each run."""

import os
import shlex
import subprocess
import sys
import tempfile
from functools import partial
from statistics import median

from _path import ROOT

TURNS = 2
EVERYTHING = ["-c", "import torchvision, train; train.with_defaults()"]  # what train.py once did first, for --help too
STARTS = {  # (before, now): arguments of Python
    "train.py --help": (EVERYTHING, ["train.py", "--help"]),
    "import of train.py and the trainers": (EVERYTHING, ["-c", "import train; train.with_defaults()"]),
}
SHORT = ["ZeroshotCLIP", "Tip_Adapter", "CLIP_Adapter"]
FREE = ["ZeroshotCLIP", "Prototype", "GaussianLDA", "Tip_Adapter", "Tip_Adapter_F", "CLIP_Adapter"]


def startup() -> list[dict]:
    """Seconds before and now, their ratio, and what it costs now in imports of PyTorch: medians of some turns."""
    steps = {what: [partial(python, words) for words in pair] for what, pair in STARTS.items()}
    words = ["--datasets", "caltech101", "--seeds", "1", "2", "3"]
    steps[f"3 runs each of {', '.join(SHORT)}"] = [partial(step, SHORT, words) for step in (in_processes, launched)]
    unit = median(cpu_seconds(partial(python, ["-c", "import torch"])) for _ in range(TURNS))
    found = [{"what": what, **compared(pair, TURNS)} for what, pair in steps.items()]
    return [{**row, "imports of torch": row["now, s"] / unit} for row in found]


def sweep() -> list[dict]:
    """One seed on both shipped banks: the methods that train no prompt, and all methods of Table 1."""
    found = []
    for what, methods in (("without prompts", FREE), ("table 1", [])):
        steps = [partial(step, methods, ["--seeds", "1"]) for step in (in_processes, launched)]
        found.append({"what": what, **compared(steps, turns=1)})
    return found


def compared(pair, turns: int) -> dict:
    """Medians of the CPU seconds of two steps, which take turns."""
    before, now = (median(column) for column in zip(*([cpu_seconds(step) for step in pair] for _ in range(turns))))
    return {"before, s": before, "now, s": now, "ratio": before / now}


def cpu_seconds(step) -> float:
    """Those of the processes that `step` starts and waits for."""
    begun = os.times()
    step()
    ended = os.times()
    return ended.children_user - begun.children_user + ended.children_system - begun.children_system


def python(words: list[str], **variables: str) -> str:
    """What Python prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.check_output([sys.executable, *words], cwd=ROOT, env=environment, text=True)


def launched(methods: list[str], words: list[str], *more: str, output: str = "") -> str:
    """Makes the runs of the list table1 with these methods (none: all), one at a time."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["scripts/launch.py", "table1", *words, "--jobs", "1", *more]
        return python(command, METHODS=" ".join(methods), OUTPUT=output or folder)


def in_processes(methods: list[str], words: list[str]):
    """Makes the same runs in a process each."""
    with tempfile.TemporaryDirectory() as folder:
        for line in launched(methods, words, "--dry-run", output=folder).splitlines():
            python(shlex.split(line)[1:])
