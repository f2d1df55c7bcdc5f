"""results.json files -> a frame with a line per run -> mean and spread over seeds. Damaged files and copies are named
and left out; runs that differ in more than their seed get rows of their own."""

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from trainers.core.files import RESULTS, UserError, read_results
from trainers.core.identity import is_idle, is_read

PAPERS = Path(__file__).resolve().parents[3] / "configs" / "papers"
NAMES = yaml.safe_load((PAPERS / "names.yaml").read_text(encoding="utf-8"))
PLUGINS = NAMES["plugins"]
ROW = ["task", "source", "backbone", "trainer", "cfg"]  # names a run but for its data set, shots and seed
FACT = "fact: "  # begins the columns that hold what the seeds of one row have in common
BY_SEED = ("SEED", "fewshot", "version")  # keys of an identity that tell no rows apart
BY_IMAGES = ("images", "content")  # without a bank they are hashes of the images that the seed drew
STARTS = (".INIT_FROM", ".INIT_WEIGHTS")  # ends of keys that name the run that this one started from: nor do these
BY_DATASET = ("images", "test_content", "classnames", "split", "template")  # facts with other values for each data set
PLACE = ["row", "shots", "dataset"]
AVERAGE = "average"
H_OF = (("H", "base", "new"), ("H", "unseen", "seen"), ("all_H", "all_base", "all_new"))
COST = "cost: "  # begins what is no accuracy: the seconds of a stage, the peak memory
MAKE_SOME = "make some with  bash scripts/quickstart.sh  or  bash scripts/base2new.sh caltech101 1"


def load(places: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """(the runs below these folders, warnings). Raises UserError where there are none."""
    records, warnings = [], []
    for path in find([Path(place) for place in places]):
        try:
            records.append(read(path))
        except UserError as error:
            warnings.append(f"left out: {error}")
    if not records:
        raise UserError("no run is left to report:\n" + "\n".join(warnings))
    records.sort(key=lambda run: run["path"].stat().st_mtime_ns)
    runs = pd.DataFrame(records).drop(columns="facts").join(unlike_facts(records).add_prefix(FACT))
    runs = pd.concat([with_variants(group) for _, group in runs.groupby(ROW)]).sort_index()
    older = runs.duplicated([*ROW, "config", "dataset", "shots", "seed"], keep="last")
    warnings += [f"two results of the same run: left out the older, {path}" for path in runs.loc[older, "path"]]
    return runs[~older], warnings + unlike_data(runs[~older])


def unlike_facts(records: list[dict]) -> pd.DataFrame:
    """[runs x facts]: those in which any two runs differ. What was not recorded is "-", as are values that older
    versions had without recording them; but a template's text, which they did not keep either, is not compared."""
    texts = [repr(run["facts"]) for run in records]  # few differ
    facts = pd.DataFrame(dict(zip(texts, [run["facts"] for run in records])).values(), dtype=object)
    facts = facts.loc[:, facts.nunique(dropna=False) > 1].copy()
    for key in facts.columns.drop("template", errors="ignore"):
        unrecorded = [is_idle(key, value) or (value == 1 and "REVISION" in key) for value in facts[key]]
        facts[key] = facts[key].where(facts[key].notna() & ~np.array(unrecorded), "-")
    place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return facts.iloc[[place[text] for text in texts]].reset_index(drop=True)


def unlike_data(runs: pd.DataFrame) -> list[str]:
    """Warnings of runs on one data set that have other splits or class names."""
    warnings = []
    for key, what in (("split_hash", "splits"), ("classnames_hash", "class names")):
        users = runs[runs[key] != ""].drop_duplicates(["task", "dataset", key])
        words = users[key] + ": " + users["trainer"] + " seed " + users["seed"].astype(str)
        for place, about in words.groupby([users["task"], users["dataset"]]):
            text = f"{' '.join(place)}: results of different {what} should not be compared ({'; '.join(about)})"
            warnings += [text] if len(about) > 1 else []
    return warnings


def find(places: list[Path]) -> list[Path]:
    """The results.json files in and below folders. Raises UserError where there is none."""
    below = {
        place: [Path(folder, RESULTS) for folder, _, files in os.walk(place) if RESULTS in files] for place in places
    }
    missing = next((place for place in places if not below[place] and not place.is_file()), None)
    if missing:
        begun = sorted(missing.rglob("log.txt"))
        hint = f"\nNot finished yet, or broken off: {begun[0].parent} ({len(begun)} in all)" if begun else ""
        what = f"there is no {RESULTS} below {missing}" if missing.is_dir() else f"{missing} does not exist"
        raise UserError(f"{what}; a run writes it when it is done.{hint}\n{MAKE_SOME}")
    return list(dict.fromkeys(path for place in places for path in sorted(below[place]) or [place]))


def read(path: Path) -> dict:
    """A run: its fields, `metrics` {name: percent}, `notes` {metric: why it is missing, or how it was measured}, and
    `facts`, which seeds of one row have in common. Raises UserError where the file is damaged or in a wrong place."""
    data, folder = read_results(path), path.parent.name or path.absolute().parent.name
    if re.fullmatch(r"seed\d+", folder) and folder != f"seed{data.get('seed')}":
        raise UserError(f"{path} is of seed {data.get('seed')}, in the folder of another seed")
    try:
        return run_of(data, path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error!r}); remove it, and the run is evaluated again") from None


def run_of(data: dict, path: Path) -> dict:
    metrics = {name: float(value) for name, value in data["metrics"].items() if value is not None}
    if not all(0 <= value <= 100 for value in metrics.values()):
        raise ValueError("a metric that is no percentage")
    if seconds := data.get("seconds"):
        costs = {**seconds, "total": sum(seconds.values()), "peak MB": data.get("peak_memory_mb")}
        metrics |= {COST + name: value for name, value in costs.items()}
    by_name = re.split(f"_(?=(?:{'|'.join(PLUGINS)})(?:_|$))", data["trainer"])  # in the first versions
    method, plugins = data.get("method", by_name[0]), data.get("plugins", by_name[1:])
    notes = dict(data.get("unsupported") or {}) if data["metrics"] else {"accuracy": "there are no test images"}
    for name, part in (data.get("subset") or {}).items():
        notes[name] = f"on a fixed subset, {part['images']:,} of {part['of']:,} test images"
    copies, unseeded = data.get("test_images_trained_on"), data.get("unseeded") or data["seed"] < 0
    general = ["unseeded: the seed was drawn"] if unseeded else []
    general += [f"{copies} of the test images are among those that it was trained on"] if copies else []
    return {
        **{name: data[name] for name in ("task", "dataset", "trainer", "config")},
        **{name: int(data[name]) for name in ("seed", "shots")},
        **{name: data.get(name, "") for name in ("split_hash", "classnames_hash")},
        "source": data.get("source") or (data.get("extra") or {}).get("source") or "",
        "backbone": data["backbone"]["name"],
        "cfg": data["config"],  # `config` also tells variants apart
        "parts": (method, *plugins),
        "title": " + ".join([NAMES["methods"].get(method, method.replace("_", "-")), *plugins]),
        "rank": (tuple(rank(PLUGINS, name) for name in plugins), rank(NAMES["methods"], method), data["trainer"]),
        **{"options": "", "base": ""},  # of an ablation's rows
        **{"path": path, "metrics": metrics, "notes": notes, "note": "; ".join(general)},
        "facts": facts_of(data) | {"seed": "drawn" if unseeded else "given"},
    }


def facts_of(data: dict) -> dict:
    """The run's identity without what belongs to its seed or did nothing."""
    identity, draw = data.get("identity") or {}, str(data.get("fewshot") or "")
    facts = {"weights": data["backbone"].get("sha256"), "options": "recorded" if identity else "not recorded"}
    facts["few-shot images"] = "sampled" if draw.endswith(".pkl") else re.sub(r"seed_?\d+", "", Path(draw).name)
    kept = counted(tuple(identity), data["trainer"], bool(data.get("bank")))
    facts |= {key: identity[key] for key in kept}
    if facts.get("DATASET.HALVES_SEED", -1) >= 0:  # the half is the repetition, as the seed is
        facts["DATASET.HALVES_SEED"] = "drawn"
        facts.pop("classnames", None)
    return facts


@cache
def counted(keys: tuple[str, ...], trainer: str, has_bank: bool) -> list[str]:
    """Which keys of an identity tell rows apart. Old versions recorded the options of all methods: those count whose
    section is in the trainer's name."""
    letters, dropped = trainer.replace("_", "").upper(), BY_SEED if has_bank else BY_SEED + BY_IMAGES
    kept = []
    for key in keys:
        sections = [name for name in key.split(".")[1:2] if name.replace("_", "") in letters]
        is_option = "version" in keys and key[0].isupper() and "REVISION" not in key
        if key not in dropped and not key.endswith(STARTS) and (not is_option or is_read(key, sections)):
            kept.append(key)
    return kept


def rank(names: Iterable[str], name: str) -> tuple[int, str]:
    """Sort key: the order of `names`; others follow by their letters."""
    names = [*names]
    return (names.index(name), "") if name in names else (len(names), name)


# ---- rows: runs that differ in their seed alone


def with_variants(group: pd.DataFrame) -> pd.DataFrame:
    """With the `config` and `note` of these runs: where they differ in more than their seed on a data set, their
    configurations are "cfg", "cfg #2", ..., the same on all data sets, and the note says what differs from most."""
    facts, cells = facts_frame(group), [group["dataset"], group["shots"]]
    facts = facts.loc[:, facts.nunique() > 1]
    facts = facts.loc[:, (facts.groupby(cells).nunique() > 1).any()]
    for key in facts.columns.intersection(BY_DATASET):  # the hash that most runs on a data set have is #1
        facts[key] = facts.groupby(cells)[key].transform(by_frequency)
    common = {key: facts[key].value_counts().index[0] for key in facts}
    unlike = pd.Series("", index=group.index)
    if common:
        unlike = unlike + [differences(run, common) for run in facts.to_dict("records")]
    frequency = unlike.value_counts()
    order = sorted(frequency.index, key=lambda words: (words != "", -frequency[words], words))
    config = group["cfg"] + unlike.map(lambda words: f" #{order.index(words) + 1}" * (words != order[0]))
    note = (config + " has " + unlike).where(unlike != "", "") + "; " + group["note"]
    return group.assign(config=config, note=note.str.strip("; "))


def facts_frame(runs: pd.DataFrame) -> pd.DataFrame:
    """[runs x facts] of those facts in which any two runs of the report differ."""
    facts = runs[[name for name in runs if name.startswith(FACT)]]
    return facts.rename(columns=lambda name: name.removeprefix(FACT))


def differences(facts: dict, common: dict, without: tuple[str, ...] = ()) -> str:
    """ "OPTIM.MAX_EPOCH 20 instead of 50": the facts that are not the common ones, but for those that begin with one of
    `without`."""
    unlike = [key for key in sorted(facts) if facts[key] != common[key] and not key.startswith(without)]
    return "; ".join(f"{key} {short(facts[key])} instead of {short(common[key])}" for key in unlike)


def by_frequency(hashes: pd.Series) -> pd.Series:
    """#1 for the most frequent one, #2 for the next one, and so on."""
    return hashes.map({value: f"#{number}" for number, value in enumerate(hashes.value_counts().index, 1)})


def short(value) -> str:
    return str(value)[:8] if re.fullmatch("[0-9a-f]{12,}", str(value)) else str(value)


def with_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of a table with the number of their `row` and its `method`. A method has a row for each configuration
    where a data set has several of them, else one."""
    key = ["backbone", "trainer", "title"]
    several = runs.groupby([*key, "dataset", "shots"])["config"].transform("nunique") > 1
    several = several.groupby([runs[name] for name in key]).transform("any")
    named = runs["config"].where(several, "")
    runs = runs.assign(method=runs["title"] + (" (" + named + ")").where(several, ""))
    return runs.assign(row=runs.groupby(["backbone", "rank", named]).ngroup())


# ---- numbers


def values_of(runs: pd.DataFrame) -> pd.DataFrame:
    """[row, shots, dataset, seed] x metrics and costs; a metric that runs only have notes of is there too."""
    lines = [dict.fromkeys(notes) | metrics for notes, metrics in zip(runs["notes"], runs["metrics"], strict=True)]
    index = pd.MultiIndex.from_frame(runs[[*PLACE, "seed"]])
    return with_h(pd.DataFrame(lines, index=index, dtype=float))


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
    parts = [values]
    for _, part in values.groupby(level="shots"):
        if part.index.get_level_values("dataset").nunique() > 1:
            means = pd.DataFrame({name: part[name].unstack("dataset").mean(axis=1, skipna=False) for name in part})
            means = means.where(means.notna().groupby(level="row").transform("all"))
            means = means if mean_of_h else with_h(means)
            parts.append(pd.concat({AVERAGE: means}, names=["dataset"]).reorder_levels(values.index.names))
    return pd.concat(parts)


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
