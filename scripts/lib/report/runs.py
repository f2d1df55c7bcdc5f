"""results.json files -> Runs. A file that cannot be understood or believed is named and skipped, never guessed at."""

import json
import os
import re
import stat
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from reprlib import repr as shown  # of a value that may be of any size

from ..done import digest_of
from ..run import RESULTS, UserError, split_trainer
from .stats import harmonic

MAKE_SOME = "make some with  bash scripts/quickstart.sh  or  bash scripts/base2new.sh caltech101 1"
AGAIN = "delete it and start the run again, which goes on from its checkpoint"
LIMIT = 16 * 2**20  # bytes of a file; a run writes some thousands
LONGEST = 200  # characters of a name
LARGEST = 10**15  # of a number
H_OF = (("H", "base", "new"), ("H", "unseen", "seen"), ("all_H", "all_base", "all_new"))


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
    commit: str
    unseeded: bool  # its seed was drawn
    identity: dict[str, str]  # all that changes what comes out, by name; {} in files of older versions
    facts: dict[str, str]  # what must be equal of runs that share a row
    kind: str = ""  # "#2": of runs that share all names, those that differ in more than the seed (apart.py)
    note: str = ""  # a footnote: how its kind differs

    @property
    def label(self) -> str:
        """Its configuration, and its kind where there are several."""
        return f"{self.config} {self.kind}".rstrip()


def find(places) -> list[Path]:
    """The results.json files below the given folders (a file may be given too), each once, sorted by path."""
    found, places = {}, [Path(place) for place in places]
    for place in places:
        if not place.exists():
            raise UserError(
                f"{place} does not exist. A report is made from the {RESULTS} files below a folder;\n{MAKE_SOME}"
            )
        for path in sorted(place.rglob(RESULTS)) if place.is_dir() else [place]:
            found.setdefault(os.path.realpath(path), path)  # of a link to itself too
    if not found:
        unfinished = [log.parent for place in places for log in sorted(place.rglob("log.txt"))]
        hint = f"\nNot finished yet, or broken off: {unfinished[0]} ({len(unfinished)} in all)" if unfinished else ""
        raise UserError(
            f"no {RESULTS} below {', '.join(map(str, places))} (a run writes it when it is done);{hint}\n{MAKE_SOME}"
        )
    return sorted(found.values())


def load(paths) -> tuple[list[Run], list[str]]:
    """Reads the files. Returns the runs and a warning for each file that was skipped."""
    runs, warnings = [], []
    for path in paths:
        try:
            runs.append(parse(Path(path)))
        except RecursionError:
            warnings.append(f"skipped {path}: nested too deeply for a {RESULTS}")
        except (OSError, ValueError) as error:
            warnings.append(f"skipped {path}: {error}")
    if not runs:
        raise UserError("none of the files found could be read:\n" + "\n".join(warnings))
    return runs, warnings


def read(path: Path) -> dict:
    """The file's JSON object. Raises ValueError, RecursionError or OSError with what is wrong.

    Opening a pipe would wait for its writer, and a device may never end: neither is read."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("expected a file, found a pipe, a device or the like")
        content = file.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise ValueError(f"larger than {LIMIT >> 20} MiB, as no {RESULTS} is")
    try:
        data = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"damaged: no UTF-8 ({error.reason} at byte {error.start})") from None
    except ValueError as error:
        raise ValueError(f"damaged JSON ({error})") from None
    if not isinstance(data, dict):
        raise ValueError(f"expected a JSON object, found {type(data).__name__}")
    if "digest" in data and data["digest"] != digest_of(data):
        raise ValueError(f"edited or damaged, for its digest does not match; {AGAIN}")
    return data


def parse(path: Path) -> Run:
    """Raises ValueError, RecursionError or OSError with what is wrong."""
    data = read(path)
    get, backbone = partial(_get, data), _get(data, "backbone", dict)
    names = {name: get(name, str) for name in ("task", "dataset", "trainer", "config")}
    names["config"] = _get({"config": _config(path, names["trainer"], names["config"])}, "config", str)
    method, plugins = split_trainer(names["trainer"])
    identity = {key: _text(value) for key, value in get("identity", dict, {}).items()}
    commit = data.get("commit") or (identity and get("versions", dict, {}).get("commit")) or ""
    version = f"{_text(identity.get('version') or data.get('version') or '')[:12]} {_text(commit)[:12]}"
    unseeded = data.get("unseeded") is True or get("seed", int) < 0
    return Run(
        path=path,
        **names,
        method=get("method", str, method),
        plugins=tuple(map(_text, get("plugins", list, plugins))),
        seed=get("seed", int),
        shots=get("shots", int),
        backbone=_get(backbone, "name", str),
        backbone_hash=_get(backbone, "sha256", str, ""),
        split_hash=get("split_hash", str, ""),
        classnames_hash=get("classnames_hash", str, ""),
        metrics=_metrics(data),
        unsupported={name: _text(reason) for name, reason in get("unsupported", dict, {}).items()},
        remarks=_remarks(data),
        costs=_costs(data),
        source=get("source", str, "") or _get(get("extra", dict, {}), "source", str, ""),
        version=version.strip(),
        commit=_text(commit)[:12] + " with changes" * (data.get("clean_tree") is False),
        unseeded=unseeded,
        identity=identity,
        facts={**_facts(data, identity), "seed": "drawn" if unseeded else "given"},
    )


def _config(path: Path, trainer: str, config: str) -> str:
    """In the layout .../<Trainer>/<cfg>/seed<s>/ the folder tells variants of one YAML file apart."""
    folders = path.absolute().parent.parts
    if len(folders) >= 3 and re.fullmatch(r"seed\d+", folders[-1]) and folders[-3] == trainer:
        return folders[-2]
    return config


def _facts(data: dict, identity: dict[str, str]) -> dict[str, str]:
    """Without what a seed decides: which images are drawn, the checkpoints of the run that it starts from."""
    decided = {key for key in identity if key.rpartition(".")[2] in ("SEED", "fewshot", "INIT_FROM", "INIT_WEIGHTS")}
    if not data.get("bank"):
        decided.add("images")  # those that were drawn; of a bank it is all of them
    fewshot = re.sub(r"seed_?\d+", "seed#", os.path.basename(_text(data.get("fewshot") or "")))
    return {
        **{key: value for key, value in identity.items() if key not in decided},
        "options": "recorded" if identity else "not recorded (an older version)",
        "selection": re.sub(r"\d[\d.e+-]*", "#", _text(data.get("selection") or "")),  # it may tell what was chosen
        # older versions named the pickle that a draw was kept in
        "few-shot images": "sampled" if fewshot.endswith(".pkl") and not identity else fewshot,
    }


def _get(data: dict, key: str, kind: type, *default):
    value = data.get(key)
    if value is None:
        if default:
            return default[0]
        raise ValueError(f"'{key}' is missing")
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"'{key}' should be {kind.__name__}, found {shown(value)}")
    if kind is int and not _is_number(value):
        raise ValueError(f"'{key}' should be a number of a few digits, found {shown(value)}")
    if kind is str and not (value.isprintable() and len(value) <= LONGEST):
        raise ValueError(f"'{key}' should be one line of at most {LONGEST} characters, found {shown(value)}")
    if kind is dict and not all(map(str.isprintable, value)):
        raise ValueError(f"'{key}' should have names of one line, found {shown([*value])}")
    return value


def _text(value) -> str:
    """Any JSON value in one line."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def _metrics(data: dict) -> dict[str, float]:
    metrics = {name: value for name, value in _get(data, "metrics", dict).items() if value is not None}
    for name, value in metrics.items():
        if not _is_number(value) or not 0 <= value <= 100:
            raise ValueError(f"metric '{name}' should be a percentage, found {shown(value)}")
    for name, *parts in H_OF:
        if {name, *parts} <= metrics.keys():
            found, (a, b) = metrics[name], (metrics[part] for part in parts)
            if abs(found - harmonic(a, b)) > 0.01:
                follows = f"{parts[0]} {a:.2f} and {parts[1]} {b:.2f} give {harmonic(a, b):.2f}"
                raise ValueError(f"{name} is {found:.2f}, but {follows}: edited or damaged; {AGAIN}")
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
            raise ValueError(f"'subset' of '{name}' should name its images and of how many, found {shown(part)}")
        remarks[name] = f"{name}: on a fixed subset, {part['images']:,} of {part['of']:,} test images"
    return remarks
