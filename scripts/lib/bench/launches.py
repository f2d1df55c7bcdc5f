"""CPU seconds of processes: the start of train.py, and lists of runs by the launcher beside a process for each run."""

import os
import shlex
import subprocess
import sys
import tempfile
from functools import partial
from statistics import median

from _path import ROOT

EVERYTHING = "import torchvision, train; train.with_defaults()"  # what train.py once did first, for --help too
METHODS = "ZeroshotCLIP Tip_Adapter CLIP_Adapter"


def startup() -> list[dict]:
    """Seconds before and now, their ratio, and what it costs now in imports of PyTorch."""
    once, now = partial(python, "-c", EVERYTHING), partial(python, "-c", "import train; train.with_defaults()")
    rows = [
        compared("train.py --help", once, partial(python, "train.py", "--help")),
        compared("import of train.py and the trainers", once, now),
        compared(f"3 runs each of {METHODS}", in_processes, launched, turns=1),
    ]
    unit = cpu_seconds(partial(python, "-c", "import torch"))
    return [{**row, "imports of torch": row["now, s"] / unit} for row in rows]


def compared(what: str, before, now, turns=2) -> dict:
    """Medians of the CPU seconds of two functions, which take turns."""
    columns = zip(*([cpu_seconds(before), cpu_seconds(now)] for _ in range(turns)), strict=True)
    first, second = map(median, columns)
    return {"what": what, "before, s": first, "now, s": second, "ratio": first / second}


def cpu_seconds(step) -> float:
    """Those of the processes that `step` starts and waits for."""
    begun = os.times()
    step()
    ended = os.times()
    return ended.children_user - begun.children_user + ended.children_system - begun.children_system


def python(*words: str, **variables: str) -> str:
    """What Python prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.check_output([sys.executable, *words], cwd=ROOT, env=environment, text=True)


def launched(*flags: str, output: str = "") -> str:
    """The launcher makes three seeds of the METHODS on Caltech101, one run at a time."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["scripts/launch.py", "table1", "caltech101", "--jobs", "1", *flags]
        return python(*command, METHODS=METHODS, OUTPUT=output or folder)


def in_processes():
    """Makes the same runs in a process each."""
    with tempfile.TemporaryDirectory() as folder:
        for line in launched("--dry-run", output=folder).splitlines():
            python(*shlex.split(line)[1:])
