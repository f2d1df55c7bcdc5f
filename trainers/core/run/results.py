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

import dassl
import torch

from ..errors import UserError
from ..version import __version__, commit

NAME = "results.json"


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

    def go_on_from(self, seconds):
        """Takes over those of an interrupted run; a stage that this process went through again counts once."""
        self.seconds |= {name: max(value, self.seconds.get(name, 0.0)) for name, value in seconds.items()}


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


def versions() -> dict[str, str]:
    """The software of a run, as it is now."""
    return {
        "ship": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dassl": getattr(dassl, "__version__", "unknown"),
    }


def write(path, record):
    """Writes `record` as JSON with its digest, atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    record = json.loads(json.dumps(record))  # as whoever reads it finds it
    part.write_text(json.dumps({**record, "digest": digest_of(record)}, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def digest_of(record: dict) -> str:
    """sha256 of what a results.json holds, its own digest left out."""
    rest = {key: value for key, value in record.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read(path) -> dict:
    """A results.json. Raises UserError where it is damaged, or was changed since it was written; older ones have no
    digest that would show it."""
    try:
        if not os.path.isfile(path):  # to open a pipe would wait for ever
            raise ValueError("it is no file")
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not isinstance(found.get("metrics"), dict):
            raise ValueError("no table of metrics")
        backbone = found.get("backbone", {})
        if not isinstance(backbone, dict) or not isinstance(backbone.get("sha256", ""), str):
            raise ValueError("no table of the backbone")
        if "digest" in found and found["digest"] != digest_of(found):
            raise ValueError("it does not match its digest: it was edited")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it, and the run is evaluated again") from None
    return found


def summary(record: dict) -> str:
    """base 83.3, new 53.7, H 65.3"""
    return ", ".join(f"{name} {value:.1f}" for name, value in record["metrics"].items() if type(value) in (int, float))


def source_file(path) -> Path | None:
    """results.json of the run that the folder or checkpoint `path` belongs to; None without one, as of stock CoOp's."""
    path = Path(os.path.realpath(path))  # where a link leads to itself, Path.resolve raises
    return next((folder / NAME for folder in (path, *path.parents[:2]) if (folder / NAME).is_file()), None)


def read_source(path) -> dict:
    """What the run says that the folder or checkpoint `path` belongs to; {} where it says nothing."""
    found = source_file(path)
    return read(found) if found else {}


def save_config(cfg):
    """config.yaml in the output folder: everything that the run was configured with, whoever's train.py started it."""
    if cfg.OUTPUT_DIR:
        path = Path(cfg.OUTPUT_DIR) / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(cfg.dump())


def record(trainer, metrics, unsupported=None, subset=None):
    """What results.json holds of a finished run; `subset` names the metrics measured on a part of the test images.

    A run that starts from another one has that run's data set as `source`; where it sees no image itself, its shots.
    """
    cfg, task, dataset = trainer.cfg, trainer.task, trainer.task.dataset
    start = cfg.MODEL.INIT_WEIGHTS or next(filter(None, (plugin.source() for plugin in trainer.plugins)), "")
    source = read_source(start) if start else {}
    origin = {"source": source["dataset"]} if "dataset" in source else {}
    extra = trainer.own_results()
    for plugin in trainer.plugins:
        extra.update(plugin.results())
    return {
        "task": cfg.TASK,
        "dataset": cfg.RUN.DATASET or cfg.DATASET.NAME,
        "trainer": cfg.TRAINER.NAME,
        "method": type(trainer).__name__.removesuffix("".join(f"_{plugin.NAME}" for plugin in trainer.plugins)),
        "plugins": [plugin.NAME for plugin in trainer.plugins],
        "config": cfg.RUN.CONFIG,
        "seed": cfg.SEED,
        **({"unseeded": True} if cfg.RUN.UNSEEDED else {}),
        "shots": cfg.DATASET.NUM_SHOTS if task.real_classnames() else source.get("shots", cfg.DATASET.NUM_SHOTS),
        **origin,
        "backbone": {"name": trainer.backbone.name, "sha256": trainer.backbone.weights_hash},
        "split_hash": getattr(dataset, "split_hash", ""),
        "fewshot": getattr(dataset, "fewshot_source", ""),
        "classnames_hash": names_hash(getattr(dataset, "all_classnames", dataset.classnames)),
        "metrics": metrics,
        "unsupported": unsupported or {},
        "subset": subset or {},
        **({"skipped_images": trainer.data.skipped} if trainer.data.skipped else {}),
        "selection": trainer.selection,
        "seconds": {name: round(value, 3) for name, value in trainer.watch.seconds.items()},
        "peak_memory_mb": peak_memory_mb(trainer.device),
        "versions": trainer.versions,
        "clean_tree": not trainer.versions["commit"].endswith("-dirty") if trainer.versions["commit"] else None,
        "command": list(sys.argv),
        **trainer.origin,
        "bank": getattr(trainer.data.store, "about", None),
        "identity": trainer.identity or None,
        "extra": extra,
    }
