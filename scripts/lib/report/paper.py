"""The papers' tables, configs/papers/<paper>/table<n>.yaml: their figures beside ours, and on their own."""

from functools import cache
from itertools import product
from statistics import fmean, harmonic_mean

import pandas as pd
import yaml

from trainers.core.files import UserError

from .runs import AVERAGE, MAKE_SOME, NAMES, PAPERS
from .table import Table


@cache
def paper_table(number: int, paper: str = "ship") -> dict:
    """What the file holds; `values` of a row become {column: {metric: percent}}, and its `suffix` is what its options
    add to the name of a configuration. Raises UserError where there is no such table."""
    path = PAPERS / paper / f"table{number}.yaml"
    if not path.exists():
        raise UserError(f"Table {number} of '{paper}' should be in {path}, which does not exist")
    table = {"shots": None, "source": "", "verified": True, "notes": [], **yaml.safe_load(path.read_text("utf-8"))}
    for row in table["rows"]:
        row["values"] = {key: dict(zip(table["metrics"], found, strict=True)) for key, found in row["values"].items()}
        row["suffix"] = "".join(f"-{table['section']}.{key}={value}" for key, value in row.get("options", {}).items())
    table["variants"] = [row for row in table["rows"] if row["suffix"]]
    table["name"] = f"{NAMES['papers'][paper]['title']}, Table {number}"
    # an ablation that prints the average alone has the data sets of Table 1
    known = {*table["columns"]} - {AVERAGE}
    table["datasets"] = known or {*paper_table(1, paper)["columns"]} - {AVERAGE}
    return table


def main_table(task: str, paper: str) -> dict | None:
    """The paper's table that compares methods on this task (no ablation)."""
    numbers = sorted(int(path.stem.removeprefix("table")) for path in (PAPERS / paper).glob("table*.yaml"))
    tables = [paper_table(number, paper) for number in numbers]
    return next((table for table in tables if table["task"] == task and not table["variants"]), None)


def stands_for(table: dict, theirs: dict, ours) -> bool:
    """Whether a row of the paper's table is that of a row of ours: the same variant, or the same trainer."""
    return theirs["method"] == ours.title if table["variants"] else theirs.get("trainer") == ours.trainer


def printed(table: dict, cell, places: list[str], mean_of_h: bool) -> float | None:
    """The figure that may stand beside a cell of ours on these data sets: of the same backbone, source and number of
    shots. For an average over all of its data sets the printed one; over some of them theirs, by the same rule."""
    same = cell.backbone == table["backbone"] and cell.source in (table["source"], "") and table["verified"]
    if not same or table["shots"] not in (None, cell.at) or cell.metric not in table["metrics"]:
        return None
    values = next((row["values"] for row in table["rows"] if stands_for(table, row, cell)), {})
    if {*places} == table["datasets"] and AVERAGE in values and not mean_of_h:
        places = [AVERAGE]
    if not {*places} <= values.keys():
        return None
    if cell.metric == "H" and len(places) > 1 and not mean_of_h:
        return harmonic_mean([fmean(values[name][side] for name in places) for side in table["metrics"][:2]])
    return fmean(values[name][cell.metric] for name in places)


def with_printed(cells: pd.DataFrame, table: dict, beside: bool, mean_of_h: bool) -> pd.DataFrame:
    """With the paper's figures in lines below ours, or `beside` ours with the difference."""
    measured = cells[cells["dataset"] != AVERAGE].groupby("at")["dataset"].unique()
    means = []
    for cell in cells.itertuples():
        places = [*measured[cell.at]] if cell.dataset == AVERAGE else [cell.dataset]
        means.append(printed(table, cell, places, mean_of_h))
    theirs = cells.assign(mean=pd.Series(means, dtype=float), spread=None, count=0, whose=1)
    if beside:
        unlike = theirs.assign(mean=cells["mean"] - theirs["mean"], whose=2, of="diff.", plus=True)
        return pd.concat([cells.assign(of="ours"), theirs.assign(of="paper"), unlike])
    words = dict.fromkeys(("method", "trainer"), "  in the paper") | {"config": "", "options": ""}
    return pd.concat([cells, theirs.dropna(subset="mean").assign(**words)])


def not_run(table: dict, runs: pd.DataFrame) -> list[str]:
    """A footnote that names the rows of the paper's table that have no run here."""
    ours = [*runs.drop_duplicates("row").itertuples()]
    theirs = [row for row in table["rows"] if "trainer" in row]
    missing = [row["method"] for row in theirs if not any(stands_for(table, row, one) for one in ours)]
    return [f"not run: {', '.join(missing)}"] if missing else []


def nothing_of(table: dict) -> UserError:
    """What to run where there are no runs for the table."""
    ends = [f"{row['trainer']}/...{row['suffix']}" for row in table["variants"]]
    runs = f"runs of the task {table['task']}" + f" such as {', '.join(ends)}" * bool(ends)
    return UserError(f"no results for {table['name']} ({table['title']}): expected {runs}.\n{MAKE_SOME}")


def own_table(table: dict) -> Table:
    """The table as printed, on its own, so that its numbers stand beside no other backbone's."""
    cells, titles = [], dict(sorted(table["columns"].items(), key=lambda item: item[0] == AVERAGE))
    titles = titles if len(titles) > 1 else {AVERAGE: ""}
    for line, row in enumerate(table["rows"]):
        said = [row[key] for key in ("features", "flags") if key in row]
        method = row["method"] + f" ({'; '.join(said)})" * bool(said)
        for column, (key, metric) in enumerate(product(titles, table["metrics"])):
            words = {"line": line, "method": method, "column": column, "data set": titles[key], "metric": metric}
            cells.append({**words, "mean": row["values"].get(key, {}).get(metric)})
    frame = pd.DataFrame(cells).assign(spread=None, block="", plus=False).astype({"mean": float})
    notes = [table.get("note", ""), f"{table['backbone']}: not comparable with other backbones", *table["notes"]]
    title = f"As printed in {table['name']}: {table['title']}"
    return Table(title, frame, ["method"], ["data set", "metric"], [*filter(None, notes)])


def ablation(table: dict, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of an ablation's rows, with the row's title, options and rank, and the configuration `base` that the
    options change: they end its name. Rows without options stand on the data sets of the variants."""
    parts, key = [runs[:0]], ["base", "shots", "dataset"]
    for i, row in sorted(enumerate(table["rows"]), key=lambda pair: -len(pair[1]["suffix"])):
        here = (runs["trainer"] == row["trainer"]) & runs["cfg"].str.endswith(row["suffix"])
        part, runs = runs[here], runs[~here]
        words = " ".join(f"{key}={value}" for key, value in row.get("options", {}).items())
        part = part.assign(options=words, rank=[(i,)] * len(part), base=part["cfg"].str.removesuffix(row["suffix"]))
        variant = [config.removeprefix(cfg) for config, cfg in zip(part["config"], part["cfg"], strict=True)]
        parts.append(part.assign(title=[row["method"] + number for number in variant]))
    found = pd.concat(parts)
    variants = pd.MultiIndex.from_frame(found.loc[found["options"] != "", key])
    return found[pd.MultiIndex.from_frame(found[key]).isin(variants)]
