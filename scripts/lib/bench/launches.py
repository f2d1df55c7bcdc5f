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
SHORT = ["ZeroshotCLIP", "Tip_Adapter", "CLIP_Adapter"]
FREE = [*SHORT, "Tip_Adapter_F", "Prototype", "GaussianLDA"]


def startup() -> list[dict]:
    """Seconds before and now, their ratio, and what it costs now in imports of PyTorch."""
    once, now = partial(python, "-c", EVERYTHING), partial(python, "-c", "import train; train.with_defaults()")
    short = launches(f"3 runs each of {', '.join(SHORT)}", SHORT, "--datasets", "caltech101", "--seeds", "1", "2", "3")
    start = compared("train.py --help", once, partial(python, "train.py", "--help"))
    rows = [start, compared("import of train.py and the trainers", once, now), short]
    unit = cpu_seconds(partial(python, "-c", "import torch"))
    return [{**row, "imports of torch": row["now, s"] / unit} for row in rows]


def sweep() -> list[dict]:
    """One seed on both shipped banks: the methods that train no prompt, and all methods of Table 1."""
    return [launches("without prompts", FREE, "--seeds", "1"), launches("table 1", [], "--seeds", "1")]


def launches(what: str, methods: list[str], *words: str) -> dict:
    return compared(what, partial(in_processes, methods, *words), partial(launched, methods, *words), turns=1)


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


def launched(methods: list[str], *words: str, output: str = "") -> str:
    """The launcher makes the runs of the list table1 with these methods (none: all), one at a time."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["scripts/launch.py", "table1", *words, "--jobs", "1"]
        return python(*command, METHODS=" ".join(methods), OUTPUT=output or folder)


def in_processes(methods: list[str], *words: str):
    """Makes the same runs in a process each."""
    with tempfile.TemporaryDirectory() as folder:
        for line in launched(methods, *words, "--dry-run", output=folder).splitlines():
            if line.startswith("python "):
                python(*shlex.split(line)[1:])
