"""results.json: what a run found, under which conditions, written last and atomically. A run is done if and only if it
exists."""

import hashlib
import json
import os
import platform
import resource
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import torch


class Stopwatch:
    """Seconds per stage of a run; a stage may be entered several times."""

    def __init__(self):
        self.seconds = {}

    @contextmanager
    def stage(self, name):
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name, seconds):
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def harmonic_mean(a, b):
    """H of two accuracies in percent; 0 where both are."""
    return 2 * a * b / (a + b) if a + b else 0.0


def names_hash(classnames):
    """12 hex digits that stand for these class names in this order."""
    return hashlib.sha256("\n".join(classnames).encode()).hexdigest()[:12]


def peak_memory_mb(device):
    """Peak memory in MiB: of the GPU where there is one, else of the process."""
    if torch.device(device).type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def versions():
    import dassl

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dassl": getattr(dassl, "__version__", "unknown"),
    }


def place(output_dir):
    """(task, dataset, trainer, config) as DESIGN's output path spells them; None for parts that the path does not
    have."""
    parts = Path(output_dir).resolve().parts
    for i in range(len(parts) - 5):
        if parts[i + 2].startswith("shots_") and parts[i + 5].startswith("seed"):
            return parts[i], parts[i + 1], parts[i + 3], parts[i + 4]
    return None, None, None, None


def write(path, record):
    """Writes `record` as JSON, atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(part, path)


def read_source(path):
    """results.json of the run that the folder or checkpoint `path` belongs to; {} without one, as with stock CoOp's."""
    path = Path(path).resolve()
    for folder in (path, *path.parents[:2]):
        if (folder / "results.json").is_file():
            return json.loads((folder / "results.json").read_text())
    return {}
