"""results.json files -> Runs. A file that cannot be understood is named and skipped, never guessed at."""

import json
import math
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..run import split_trainer
from . import ReportError

RESULTS = "results.json"
PLUGINS = ("SHIP", "SAR", "GATE")  # in the order of a trainer's name
MAKE_SOME = "make some with  bash scripts/quickstart.sh  or  bash scripts/base2new.sh caltech101 1"


@dataclass(frozen=True)
class Run:
    """One finished run. Metrics are in percent."""

    path: Path
    task: str
    dataset: str
    trainer: str
    method: str  # the trainer without its plug-ins
    plugins: tuple[str, ...]
    config: str
    seed: int
    shots: int  # below 1: all training images
    backbone: str
    backbone_hash: str
    split_hash: str
    classnames_hash: str
    metrics: dict[str, float]
    unsupported: dict[str, str]  # metric -> why it has no value
    remarks: dict[str, str]  # metric -> how its value was measured, where unusual
    costs: dict[str, float]  # seconds of each stage and their "total"; "peak MB"
    source: str  # the dataset trained on, where it is not the one tested on
    version: str


def find(places) -> list[Path]:
    """The results.json files below the given folders (a file may be given too), each once, sorted by path."""
    found, places = {}, [Path(place) for place in places]
    for place in places:
        if not place.exists():
            raise ReportError(
                f"{place} does not exist. A report is made from the {RESULTS} files below a folder;\n{MAKE_SOME}"
            )
        for path in [place] if place.is_file() else sorted(place.rglob(RESULTS)):
            found.setdefault(path.resolve(), path)
    if not found:
        unfinished = [log.parent for place in places for log in sorted(place.rglob("log.txt"))]
        hint = f"\nNot finished yet, or broken off: {unfinished[0]} ({len(unfinished)} in all)" if unfinished else ""
        raise ReportError(
            f"no {RESULTS} below {', '.join(map(str, places))} (a run writes it when it is done);{hint}\n{MAKE_SOME}"
        )
    return sorted(found.values())


def load(paths) -> tuple[list[Run], list[str]]:
    """Reads the files. Returns the runs and a warning for each file that was skipped."""
    runs, warnings = [], []
    for path in paths:
        try:
            runs.append(parse(Path(path)))
        except (OSError, ValueError) as error:
            warnings.append(f"skipped {path}: {error}")
    if not runs:
        raise ReportError("none of the files found could be read:\n" + "\n".join(warnings))
    return runs, warnings


def parse(path: Path) -> Run:
    """Raises ValueError or OSError with what is wrong."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"damaged JSON ({error})") from None
    if not isinstance(data, dict):
        raise ValueError(f"expected a JSON object, found {type(data).__name__}")
    get, backbone = partial(_get, data), _get(data, "backbone", dict)
    identity = {name: get(name, str) for name in ("task", "dataset", "trainer", "config")}
    identity["config"] = _config(path, identity["trainer"], identity["config"])
    method, plugins = split_trainer(identity["trainer"])
    return Run(
        path=path,
        **identity,
        method=get("method", str, method),
        plugins=tuple(map(str, get("plugins", list, plugins))),
        seed=get("seed", int),
        shots=get("shots", int),
        backbone=_get(backbone, "name", str),
        backbone_hash=_get(backbone, "sha256", str, ""),
        split_hash=get("split_hash", str, ""),
        classnames_hash=get("classnames_hash", str, ""),
        metrics=_metrics(data),
        unsupported={name: str(reason) for name, reason in get("unsupported", dict, {}).items()},
        remarks=_remarks(data),
        costs=_costs(data),
        source=data.get("source") or get("extra", dict, {}).get("source") or "",
        version=" ".join(str(data[key])[:12] for key in ("version", "commit") if data.get(key)),
    )


def _config(path: Path, trainer: str, config: str) -> str:
    """In the layout .../<Trainer>/<cfg>/seed<s>/ the folder tells variants of one YAML file apart."""
    folders = path.absolute().parent.parts
    if len(folders) >= 3 and re.fullmatch(r"seed\d+", folders[-1]) and folders[-3] == trainer:
        return folders[-2]
    return config


def _get(data: dict, key: str, kind: type, *default):
    if data.get(key) is None:
        if default:
            return default[0]
        raise ValueError(f"'{key}' is missing")
    if not isinstance(data[key], kind) or isinstance(data[key], bool):
        raise ValueError(f"'{key}' should be {kind.__name__}, found {data[key]!r}")
    return data[key]


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _metrics(data: dict) -> dict[str, float]:
    metrics = {name: value for name, value in _get(data, "metrics", dict).items() if value is not None}
    for name, value in metrics.items():
        if not _is_number(value) or not 0 <= value <= 100:
            raise ValueError(f"metric '{name}' should be a percentage, found {value!r}")
    return {name: float(value) for name, value in metrics.items()}


def _costs(data: dict) -> dict[str, float]:
    costs = {name: float(value) for name, value in _get(data, "seconds", dict, {}).items() if _is_number(value)}
    if costs:
        costs["total"] = sum(costs.values())
    memory = data.get("peak_memory_mb")
    return {**costs, "peak MB": float(memory)} if _is_number(memory) else costs


def _remarks(data: dict) -> dict[str, str]:
    """Metrics that were measured on a part of the test images (ALL_SUBSET, for slow methods) are marked."""
    remarks = {}
    for name, part in _get(data, "subset", dict, {}).items():
        if not isinstance(part, dict) or not _is_number(part.get("images")) or not _is_number(part.get("of")):
            raise ValueError(f"'subset' of '{name}' should name its images and of how many, found {part!r}")
        remarks[name] = f"{name}: on a fixed subset, {part['images']:,} of {part['of']:,} test images"
    return remarks
