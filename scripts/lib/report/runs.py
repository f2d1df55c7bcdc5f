"""results.json files -> a frame with a line per run. Damaged files and copies are named and left out; runs that differ
in more than their seed get rows of their own."""

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pandas as pd
import yaml

from trainers.core.files import RESULTS, UserError, read_results
from trainers.core.identity import is_idle

PAPERS = Path(__file__).resolve().parents[3] / "configs" / "papers"
NAMES = yaml.safe_load((PAPERS / "names.yaml").read_text(encoding="utf-8"))
ROW = ["task", "source", "backbone", "trainer", "cfg"]  # names a run but for its data set, shots and seed
COST = "cost: "  # begins what is no accuracy: the seconds of a stage, the peak memory
# Keys of an identity that belong to the seed: the draw, and the run that this one started from.
BY_SEED = ["SEED", "fewshot", "MODEL.INIT_WEIGHTS", *(f"TRAINER.{name}.INIT_FROM" for name in NAMES["plugins"])]
BY_IMAGES = ["images", "content"]  # without a bank they are hashes of the images that the seed drew
BY_DATASET = ("images", "test_content", "classnames", "split", "template")  # have other values on each data set
shared = cache(frozenset)  # equal facts are one object, so that those of thousands of runs are soon compared
MAKE_SOME = "make some with  bash scripts/quickstart.sh  or  bash scripts/base2new.sh caltech101 1"


def load(places: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """(the runs below these folders, warnings). Raises UserError where there are none."""
    records, warnings = [], []
    for path in find(places):
        try:
            records.append(run_of(read_results(path), path))
        except UserError as error:
            warnings.append(f"left out: {error}")
    if not records:
        raise UserError("no run is left to report:\n" + "\n".join(warnings))
    runs = pd.DataFrame(records).sort_values("written", ignore_index=True)
    runs["k"] = runs["shots"].astype(str).where(runs["shots"] > 0, "all")
    runs = pd.concat([with_variants(group) for _, group in runs.groupby(ROW)]).sort_index()
    older = runs.duplicated([*ROW, "config", "dataset", "shots", "seed"], keep="last")
    warnings += [f"two results of the same run: left out the older, {path}" for path in runs.loc[older, "path"]]
    unlike = runs.groupby(["task", "dataset"])[["split_hash", "classnames_hash"]].nunique() > 1
    for (task, dataset), is_unlike in unlike[unlike.any(axis=1)].iterrows():
        what = " and ".join(unlike.columns[is_unlike])
        warnings.append(f"{task} {dataset}: results of different {what} should not be compared")
    return runs[~older], warnings


def find(places: list[str]) -> list[str]:
    """The results.json files in and below folders. Raises UserError where there is none."""
    paths: list[str] = []
    for place in places:
        below = sorted(os.path.join(folder, RESULTS) for folder, _, files in os.walk(place) if RESULTS in files)
        if not below and not os.path.isfile(place):
            raise UserError(f"there is no {RESULTS} below {place}; a run writes it when it is done.\n{MAKE_SOME}")
        paths += below or [place]
    return list(dict.fromkeys(paths))


def run_of(data: dict, path: str) -> dict:
    """A run: its fields; `metrics` {name: percent, or None}; `notes` on what was not measured, or unusually; `facts`,
    pairs (key, value) of its identity that the seeds of one row have in common."""
    metrics, reasons = dict.fromkeys(data["unsupported"]) | data["metrics"], {}
    for metric, reason in sorted(data["unsupported"].items()):
        reasons.setdefault(reason, []).append(metric)
    notes = [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
    for name, part in data.get("subset", {}).items():
        notes.append(f"{name}: on a fixed subset, {part['images']:,} of {part['of']:,} test images")
    if copies := data.get("test_images_trained_on"):
        notes.append(f"{copies} of the test images are among those that it was trained on")
    if data.get("unseeded"):
        notes.append("unseeded: the seed was drawn")
    if not metrics:
        metrics, notes = {"accuracy": None}, [*notes, "accuracy: there are no test images"]
    if seconds := data.get("seconds"):
        costs = {**seconds, "total": sum(seconds.values()), "peak MB": data.get("peak_memory_mb")}
        metrics |= {COST + name: value for name, value in costs.items()}
    method, plugins = data.get("method", data["trainer"]), data.get("plugins", [])
    fields = ("task", "dataset", "trainer", "config", "seed", "shots", "split_hash", "classnames_hash")
    return {
        **{name: data[name] for name in fields},
        "cfg": data["config"],  # `config` also tells variants apart
        "source": data.get("source", ""),
        "backbone": data["backbone"]["name"],
        "parts": (method, *plugins),
        "title": " + ".join([NAMES["methods"].get(method, method.replace("_", "-")), *plugins]),
        "rank": (tuple(rank(NAMES["plugins"], name) for name in plugins), rank(NAMES["methods"], method)),
        **{"path": path, "written": os.path.getmtime(path)},
        **{"metrics": metrics, "notes": notes, "facts": facts_of(data)},
    }


def facts_of(data: dict) -> frozenset:
    """The run's identity without what belongs to its seed."""
    facts, draw = dict(data.get("identity", {})), os.path.basename(data.get("fewshot") or "")
    for key in BY_SEED if data.get("bank") else BY_SEED + BY_IMAGES:
        facts.pop(key, None)
    if facts.get("DATASET.HALVES_SEED", -1) >= 0:  # the half is the repetition, as the seed is
        facts["DATASET.HALVES_SEED"] = "drawn"
        facts.pop("classnames", None)
    for key, value in list(facts.items()):
        if key == "version" or is_idle(key, value) or "REVISION" in key and value == 1:
            del facts[key]  # other versions do not record it, and mean the same
    facts["few-shot images"] = "sampled" if draw.endswith(".pkl") else re.sub(r"seed_?\d+", "", draw)
    facts["seed"] = "drawn" if data.get("unseeded") else "given"
    return shared(tuple(facts.items()))


def rank(names: Iterable[str], name: str) -> tuple[int, str]:
    """Sort key: the order of `names`; others follow by their letters."""
    names = [*names]
    return (names.index(name), "") if name in names else (len(names), name)


# ---- rows: runs that differ in their seed alone


def with_variants(group: pd.DataFrame) -> pd.DataFrame:
    """With the `config` and `notes` of these runs: where they differ in more than their seed on a data set, their
    configurations are "cfg", "cfg #2", ..., the same on all data sets, and a note says what differs from most."""
    cells = [group["dataset"], group["shots"]]
    keys = {key for _, facts in group["facts"].groupby(cells) for key in unlike(facts)}
    if not keys:
        return group
    facts = pd.DataFrame([{key: short(dict(run).get(key, "-")) for key in sorted(keys)} for run in group["facts"]])
    words = pd.Series("", group.index)
    for key, values in facts.set_axis(group.index).items():
        alike = values.groupby(cells if key in BY_DATASET else group["cfg"])
        usual = alike.transform(lambda values: values.value_counts().index[0])
        words += (f"; {key} " + values + " instead of " + usual).where(values != usual, "")
    frequency = words.value_counts()
    order = sorted(frequency.index, key=lambda text: (text != "", -frequency[text], text))
    config = group["cfg"] + words.map(lambda text: f" #{order.index(text) + 1}" * (text != order[0]))
    about = [[f"{name} has {text[2:]}"] * bool(text) for name, text in zip(config, words, strict=True)]
    return group.assign(config=config, notes=about + group["notes"])


def unlike(facts: Iterable[frozenset]) -> set[str]:
    """The keys in which any two of these differ."""
    facts = set(facts)
    return {key for key, _ in frozenset.union(*facts) - frozenset.intersection(*facts)}


def differences(facts: frozenset, others: frozenset, without: tuple[str, ...]) -> str:
    """ "OPTIM.MAX_EPOCH 20 instead of 50": the facts that both have and that are not equal, but for those that begin
    with one of `without`."""
    here, there = dict(facts - others), dict(others - facts)
    keys = [key for key in sorted(here.keys() & there.keys()) if not key.startswith(without)]
    return "; ".join(f"{key} {short(here[key])} instead of {short(there[key])}" for key in keys)


def short(value) -> str:
    return str(value)[:8] if re.fullmatch("[0-9a-f]{12,}", str(value)) else str(value)


def with_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of a table with the number of their `row` and its `method`. A method has a row for each configuration
    where a data set has several of them, else one."""
    key = ["trainer", "title"]
    several = runs.groupby([*key, "dataset", "shots"])["config"].transform("nunique") > 1
    several = several.groupby([runs[name] for name in key]).transform("any")
    named = runs["config"].where(several, "")
    runs = runs.assign(method=runs["title"] + (" (" + named + ")").where(several, ""))
    return runs.assign(row=runs.groupby(["rank", "trainer", named]).ngroup())
