"""results.json files -> runs -> mean and spread over seeds. Damaged files and copies are named and left out."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from trainers.core.files import RESULTS, UserError, read_results
from trainers.core.identity import is_idle, is_read

PAPERS = Path(__file__).resolve().parents[3] / "configs" / "papers"
NAMES = yaml.safe_load((PAPERS / "names.yaml").read_text(encoding="utf-8"))
ROW = ("task", "source", "backbone", "trainer", "cfg")  # names a run but for its data set, shots and seed
BY_SEED = ("SEED", "fewshot", "version")  # keys of an identity that tell no rows apart
STARTS = (".INIT_FROM", ".INIT_WEIGHTS")  # ends of keys that name the run that this one started from: nor do these
PLACE = ["row", "shots", "dataset"]
AVERAGE = "average"
H_OF = (("H", "base", "new"), ("H", "unseen", "seen"), ("all_H", "all_base", "all_new"))
COST = "cost: "  # begins what is no accuracy: the seconds of a stage, the peak memory
MAKE_SOME = "make some with  bash scripts/quickstart.sh  or  bash scripts/base2new.sh caltech101 1"


def load(places: list[str], mix: bool = False) -> tuple[list[dict], list[str]]:
    """(the runs below these folders, warnings). Raises UserError where there are none."""
    runs, warnings = [], []
    for path in find([Path(place) for place in places]):
        try:
            runs.append(read(path))
        except UserError as error:
            warnings.append(f"left out: {error}")
    runs = without_copies(runs, warnings)
    if not runs:
        raise UserError("no run is left to report:\n" + "\n".join(warnings))
    for (task, dataset), members in group_runs(runs, "task", "dataset").items():
        for name, what in (("split", "splits"), ("names", "class names")):
            users = {run[name]: f"{run[name]}: {run['trainer']} seed {run['seed']}" for run in members if run[name]}
            if len(users) > 1:
                what = f"results of different {what} should not be compared"
                warnings.append(f"{task} {dataset}: {what} ({'; '.join(users.values())})")
    for group in group_runs(runs, *ROW).values():
        keys = set().union(*map(differing, group_runs(group, "dataset", "shots").values()))
        if keys:
            from .variants import number_variants

            number_variants(group, keys, mix)
    return runs, warnings


def find(places: list[Path]) -> list[Path]:
    """The results.json files in and below folders."""
    found = [path for place in places for path in (sorted(place.rglob(RESULTS)) if place.is_dir() else [place])]
    missing = [str(path) for path in found if not path.is_file()]
    if missing or not found:
        begun = [str(log.parent) for place in places for log in sorted(place.rglob("log.txt"))]
        hint = f"\nNot finished yet, or broken off: {begun[0]} ({len(begun)} in all)" if begun else ""
        what = f"{missing[0]} does not exist" if missing else f"no {RESULTS} below {', '.join(map(str, places))}"
        raise UserError(f"{what}; a run writes it when it is done.{hint}\n{MAKE_SOME}")
    return list(dict.fromkeys(found))


def read(path: Path) -> dict:
    """A run: its fields, `values` {metric: percent}, `notes` {metric: why it is missing, or how it was measured}, and
    `facts`, which seeds of one row have in common. Raises UserError where the file is damaged."""
    data = read_results(path)
    try:
        return run_of(data, path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error!r}); remove it, and the run is evaluated again") from None


def run_of(data: dict, path: Path) -> dict:
    identity, seconds, seed = data.get("identity") or {}, data.get("seconds") or {}, int(data["seed"])
    costs = {**seconds, "total": sum(seconds.values()), "peak MB": data.get("peak_memory_mb")} if seconds else {}
    values = {**data["metrics"], **{COST + name: value for name, value in costs.items()}}
    notes = dict(data.get("unsupported") or {})
    for name, part in (data.get("subset") or {}).items():
        notes[name] = f"{name}: on a fixed subset, {part['images']:,} of {part['of']:,} test images"
    if not all(0 <= value <= 100 for value in data["metrics"].values() if value is not None):
        raise ValueError("a metric that is no percentage")
    method, *plugins = re.split(f"_({'|'.join(NAMES['plugins'])})(?=_|$)", data["trainer"])  # for the first versions
    method, plugins = data.get("method", method), data.get("plugins", [*filter(None, plugins)])
    facts = facts_of(data, identity)
    return {
        **{name: data[name] for name in ("task", "dataset", "trainer", "config")},
        "seed": seed,
        "shots": int(data["shots"]),
        "source": data.get("source") or (data.get("extra") or {}).get("source") or "",
        "backbone": data["backbone"]["name"],
        "cfg": data["config"],  # `config` also tells variants apart
        "parts": (method, *plugins),
        "title": " + ".join([NAMES["methods"].get(method, method.replace("_", "-")), *plugins]),
        "order": ([rank(NAMES["plugins"], name) for name in plugins], rank(NAMES["methods"], method), data["trainer"]),
        "options": "",
        "path": path,
        "values": {name: float(value) for name, value in values.items() if value is not None},
        "notes": notes,
        "facts": facts,
        "note": "unseeded: the seed was drawn" if facts["seed"] == "drawn" else "",
        "older": "version" in identity,
        "split": data.get("split_hash", ""),
        "names": data.get("classnames_hash", ""),
    }


def facts_of(data: dict, identity: dict) -> dict:
    draw = str(data.get("fewshot") or "")
    facts = {**identity}
    for key in (*BY_SEED, *(key for key, value in identity.items() if is_idle(key, value))):
        facts.pop(key, None)
    if not data.get("bank"):
        for key in ("images", "content"):  # of those that were drawn; of a bank it is all of them
            facts.pop(key, None)
    if facts.get("DATASET.HALVES_SEED", -1) >= 0:  # the half is the repetition, as the seed is
        facts["DATASET.HALVES_SEED"] = "drawn"
        facts.pop("classnames", None)
    facts.setdefault("weights", data["backbone"].get("sha256"))
    facts["options"] = "recorded" if identity else "not recorded"
    facts["selection"] = re.sub(r"\d[\d.e+-]*", "#", str(data.get("selection")))  # it may tell what was chosen
    facts["few-shot images"] = "sampled" if draw.endswith(".pkl") else re.sub(r"seed_?\d+", "", Path(draw).name)
    facts["seed"] = "drawn" if data.get("unseeded") or data["seed"] < 0 else "given"
    return facts


def rank(names: Iterable[str], name: str) -> tuple[int, str]:
    """Sort key: the order of `names`; others follow by their letters."""
    names = list(names)
    return (names.index(name), "") if name in names else (len(names), name)


def without_copies(runs: list[dict], warnings: list[str]) -> list[dict]:
    """Leaves out runs in the folder of another seed, and the older of two results of one run."""
    kept: dict = {}
    for run in sorted(runs, key=lambda run: run["path"].stat().st_mtime_ns):
        folder = re.fullmatch(r"seed(\d+)", run["path"].absolute().parent.name)
        if folder and int(folder[1]) != run["seed"]:
            warnings.append(f"left out: {run['path']} is of seed {run['seed']}, in the folder of another seed")
            continue
        key = (*(run[name] for name in (*ROW, "dataset", "shots", "seed")), frozenset(run["facts"].items()))
        if key in kept:
            warnings.append(f"two results of the same run: using {run['path']}, not {kept[key]['path']}")
        kept[key] = run
    return list(kept.values())


def group_runs(runs: Iterable[dict], *names: str) -> dict[tuple, list[dict]]:
    """{values of these fields: the runs that have them}"""
    found = defaultdict(list)
    for run in runs:
        found[tuple(run[name] for name in names)].append(run)
    return found


def fact(run: dict, key: str):
    return run["facts"].get(key, 1 if "REVISION" in key else None)  # older versions did not record the first


def differing(runs: list[dict]) -> set[str]:
    """The facts in which these runs differ, without options that their trainer does not read."""
    first = runs[0]["facts"]
    others = [run["facts"] for run in runs if run["facts"] != first]
    unlike = {key for other in others for key, _ in first.items() ^ other.items()}
    if not all("template" in run["facts"] for run in runs):
        unlike.discard("template")  # older versions did not record it
    return {key for key in unlike if len({fact(run, key) for run in runs}) > 1 and is_compared(key, runs)}


def is_compared(key: str, runs: list[dict]) -> bool:
    """Older versions recorded the options of all methods: theirs count in sections whose letters the trainer's name
    has."""
    if key.endswith(STARTS):
        return False
    is_option = key.split(".")[0].isupper() and "REVISION" not in key
    if not is_option or any(key in run["facts"] and not run["older"] for run in runs):
        return True
    name = runs[0]["trainer"].replace("_", "").upper()
    return is_read(key, [section for section in key.split(".")[1:2] if section.replace("_", "") in name])


def rows_of(runs: list[dict]) -> list[dict]:
    """The rows of a table in their order; each run is told the number of its `row`. A method has a row for each
    configuration where a data set has several of them, else one."""
    rows = []
    for key, group in group_runs(runs, "source", "backbone", "trainer", "title").items():
        cells = group_runs(group, "dataset", "shots").values()
        several = any(len({run["config"] for run in cell}) > 1 for cell in cells)
        for members in group_runs(group, "config").values() if several else [group]:
            first, configs = members[0], {run["config"] for run in members}
            notes = [f"{name}: {words}" for name, words in NAMES["reconstructions"].items() if name in first["parts"]]
            row = dict(zip(("source", "backbone", "trainer", "title"), key, strict=True), members=members)
            row["config"] = first["config"] if len(configs) == 1 else "(several)"
            row["method"] = first["title"] + f" ({row['config']})" * several
            row["variant"] = row["method"]
            row["line_note"] = "; ".join(notes + sorted({run["note"] for run in members} - {""}))
            rows.append({**row, **{name: first[name] for name in ("parts", "options", "order")}})
    rows.sort(key=lambda row: (row["backbone"], *row["order"], row["config"]))
    for number, row in enumerate(rows):
        for run in row.pop("members"):
            run["row"] = number
    return rows


def shots_word(shots: int) -> str:
    return str(shots) if shots > 0 else "all"


# ---- numbers


def values_of(runs: list[dict], names: Iterable[str]) -> pd.DataFrame:
    """[row, shots, dataset, seed] x `names`: metrics and costs, from a tidy frame with a line per run and metric."""
    keys = [*PLACE, "seed"]
    lines = [(*(run[key] for key in keys), *pair) for run in runs for pair in run["values"].items()]
    tidy = pd.DataFrame(lines, columns=[*keys, "metric", "value"])
    return with_h(tidy.pivot(index=keys, columns="metric", values="value")).reindex(columns=dict.fromkeys(names))


def with_h(values: pd.DataFrame) -> pd.DataFrame:
    """H = 2ab / (a + b) of each line, whatever its file says; NaN where it has only one of the two."""
    for name, a, b in H_OF:
        if {a, b} <= {*values}:
            total = values[a] + values[b]
            values[name] = (2 * values[a] * values[b] / total).mask(total == 0, 0.0)
    return values


def with_averages(values: pd.DataFrame, mean_of_h: bool) -> pd.DataFrame:
    """With a run per row and seed that is the mean over all data sets. It has a value where all seeds of the row have
    one on each data set. `values`: [row, shots, dataset, seed] x metrics."""
    found = [values]
    for _, part in values.groupby(level="shots"):
        if part.index.get_level_values("dataset").nunique() > 1:
            means = pd.DataFrame({name: part[name].unstack("dataset").mean(axis=1, skipna=False) for name in part})
            means = means.where(means.notna().groupby(level="row").transform("all"))
            means = means if mean_of_h else with_h(means)
            found.append(pd.concat({AVERAGE: means}, names=["dataset"]).reorder_levels(values.index.names))
    return pd.concat(found)


def summarise(values: pd.DataFrame, ci95: bool, mean_of_h: bool) -> pd.DataFrame:
    """A line per row, shots, dataset and metric: mean and spread over seeds, and how many of them have a value. The
    deviation is the population's; the 95% interval is that of CoOp's parse_test_res.py."""
    groups = values.groupby(level=PLACE)
    mean, count, spread = groups.mean(), groups.count(), groups.std(ddof=0)
    for name, a, b in () if mean_of_h else H_OF:
        if {a, b} <= {*values}:
            mean[name] = with_h(values[[a, b]].dropna().groupby(level=PLACE).mean())[name]
    spread = spread.where(count > 1) * (1.96 / np.sqrt(count) if ci95 else 1)
    columns = {"mean": mean.stack(), "spread": spread.stack(), "count": count.stack()}
    return pd.DataFrame(columns).rename_axis([*PLACE, "metric"]).reset_index()
