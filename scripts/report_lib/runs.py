"""results.json files -> Runs. A file that cannot be understood is named and skipped, never guessed at."""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from . import ReportError

RESULTS = "results.json"


@dataclass(frozen=True)
class Run:
    """One finished run. Metrics are in percent, seconds are wall-clock per stage."""

    path: Path
    task: str
    dataset: str
    trainer: str
    config: str
    seed: int
    shots: int
    backbone: str
    backbone_hash: str
    split_hash: str
    classnames_hash: str
    metrics: dict[str, float]
    unsupported: dict[str, str] = field(default_factory=dict)  # metric -> why it has no value
    remarks: dict[str, str] = field(default_factory=dict)  # metric -> how its value was measured, where unusual
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float | None = None
    source: str = ""  # the dataset trained on, where it is not the one tested on


def find(places) -> list[Path]:
    """The results.json files below the given folders (a file may be given too), each once, sorted by path."""
    found = {}
    for place in map(Path, places):
        if not place.exists():
            raise ReportError(
                f"{place} does not exist. A report is made from the {RESULTS} files below a folder;\n"
                "make some with  bash scripts/quickstart.sh  or  bash scripts/base2new.sh caltech101 1"
            )
        for path in [place] if place.is_file() else sorted(place.rglob(RESULTS)):
            found.setdefault(path.resolve(), path)
    if not found:
        unfinished = [log.parent for place in map(Path, places) for log in sorted(place.rglob("log.txt"))]
        hint = f"\nNot finished yet, or broken off: {unfinished[0]} ({len(unfinished)} in all)" if unfinished else ""
        raise ReportError(
            f"no {RESULTS} below {', '.join(map(str, places))} (a run writes it when it is done).{hint}\n"
            "Make some with  bash scripts/quickstart.sh  or  bash scripts/base2new.sh caltech101 1"
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
    backbone = _get(data, "backbone", dict)
    extra = _get(data, "extra", dict, {})
    memory = data.get("peak_memory_mb")
    return Run(
        path=path,
        task=_get(data, "task", str),
        dataset=_get(data, "dataset", str),
        trainer=_get(data, "trainer", str),
        config=_config(path, _get(data, "trainer", str), _get(data, "config", str)),
        seed=_get(data, "seed", int),
        shots=_get(data, "shots", int),
        backbone=_get(backbone, "name", str),
        backbone_hash=_get(backbone, "sha256", str, ""),
        split_hash=_get(data, "split_hash", str, ""),
        classnames_hash=_get(data, "classnames_hash", str, ""),
        metrics=_metrics(data),
        unsupported=_texts(data, "unsupported"),
        remarks=_remarks(data),
        seconds=_numbers(data, "seconds"),
        peak_memory_mb=float(memory) if _is_number(memory) else None,
        source=data.get("source") or extra.get("source") or "",
    )


def _config(path: Path, trainer: str, config: str) -> str:
    """In the layout .../<Trainer>/<cfg>/seed<s>/ the folder tells variants of one YAML file apart."""
    folders = path.absolute().parent.parts
    if len(folders) >= 3 and re.fullmatch(r"seed\d+", folders[-1]) and folders[-3] == trainer:
        return folders[-2]
    return config


def _get(data: dict, key: str, kind: type, *default):
    if key not in data or data[key] is None:
        if default:
            return default[0]
        raise ValueError(f"'{key}' is missing")
    value = data[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"'{key}' should be {kind.__name__}, found {value!r}")
    return value


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _metrics(data: dict) -> dict[str, float]:
    metrics = {name: value for name, value in _get(data, "metrics", dict).items() if value is not None}
    for name, value in metrics.items():
        if not _is_number(value) or not 0 <= value <= 100:
            raise ValueError(f"metric '{name}' should be a percentage, found {value!r}")
    return {name: float(value) for name, value in metrics.items()}


def _numbers(data: dict, key: str) -> dict[str, float]:
    return {name: float(value) for name, value in _get(data, key, dict, {}).items() if _is_number(value)}


def _remarks(data: dict) -> dict[str, str]:
    """Metrics that were measured on a part of the test images (ALL_SUBSET, for slow methods) are marked."""
    remarks = {}
    for name, part in _get(data, "subset", dict, {}).items():
        if not isinstance(part, dict) or not _is_number(part.get("images")) or not _is_number(part.get("of")):
            raise ValueError(f"'subset' of '{name}' should name its images and of how many, found {part!r}")
        remarks[name] = f"{name}: on a fixed subset, {part['images']:,} of {part['of']:,} test images"
    return remarks


def _texts(data: dict, key: str) -> dict[str, str]:
    return {name: str(value) for name, value in _get(data, key, dict, {}).items()}
