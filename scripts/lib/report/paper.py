"""The papers' tables, configs/papers/<paper>/table<n>.yaml: their figures beside ours, and on their own."""

from functools import cache
from itertools import product
from statistics import fmean, harmonic_mean

import pandas as pd
import yaml

from trainers.core.files import UserError

from .runs import AVERAGE, MAKE_SOME, NAMES, PAPERS, group_runs, shots_word
from .table import Table


@cache
def paper_table(number: int, paper: str) -> dict:
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


def main_tables(task: str, paper: str) -> list[dict]:
    """The paper's tables that compare methods on this task (not ablations)."""
    numbers = sorted(int(path.stem.removeprefix("table")) for path in (PAPERS / paper).glob("table*.yaml"))
    tables = [paper_table(number, paper) for number in numbers]
    return [table for table in tables if table["task"] == task and not table["variants"]]


def printed(table: dict, row: dict, shots: int, datasets: list[str], metric: str, mean_of_h: bool) -> float | None:
    """The figure that may stand beside a cell of ours: of the same backbone, source and number of shots. For an average
    over all of its data sets the printed one; over some of them theirs, by the same rule."""
    same = row["backbone"] == table["backbone"] and row["source"] in (table["source"], "")
    if not same or table["shots"] not in (None, shots) or metric not in table["metrics"] or not table["verified"]:
        return None
    values = next((other["values"] for other in table["rows"] if stands_for(table, other, row)), {})
    own_h = mean_of_h and metric == "H" and {*datasets} <= values.keys()
    if len(datasets) > 1 and {*datasets} == table["datasets"] and AVERAGE in values and not own_h:
        datasets = [AVERAGE]
    if not {*datasets} <= values.keys():
        return None
    if metric == "H" and len(datasets) > 1 and not own_h:
        return harmonic_mean([fmean(values[name][side] for name in datasets) for side in table["metrics"][:2]])
    return fmean(values[name][metric] for name in datasets)


def with_printed(cells: pd.DataFrame, rows: list[dict], paper: dict, layout: str, mean_of_h: bool) -> pd.DataFrame:
    """With the paper's figures: columns of a list, lines below ours, or `beside` ours with the difference."""
    means = [printed(paper, rows[c.row], c.at, c.places, c.metric, mean_of_h) for c in cells.itertuples()]
    theirs = cells.assign(mean=pd.Series(means, dtype=float), spread=None, note="", whose=1)
    if layout == "beside":
        unlike = theirs.assign(mean=cells["mean"] - theirs["mean"], whose=2, of="diff.", plus=True)
        return pd.concat([cells.assign(of="ours"), theirs.assign(of="paper"), unlike])
    theirs = theirs.dropna(subset="mean")
    if layout == "list":
        return pd.concat([cells, theirs.assign(metric="paper " + theirs["metric"])])
    return pd.concat([cells, theirs.assign(method="  in the paper", variant="  in the paper", line_note="")])


def stands_for(table: dict, theirs: dict, ours: dict) -> bool:
    """Whether a row of the paper's table is that of a row of ours: the same variant, or the same trainer."""
    return theirs["method"] == ours["title"] if table["variants"] else theirs.get("trainer") == ours["trainer"]


def not_run(table: dict | None, rows: list[dict]) -> list[str]:
    """A footnote that names the rows of the paper's table that have no run here."""
    theirs = [one for one in table["rows"] if "trainer" in one] if table else []
    missing = [one["method"] for one in theirs if not any(stands_for(table, one, row) for row in rows)]
    return [f"not run: {', '.join(missing)}"] if missing else []


def nothing_of(table: dict) -> UserError:
    """What to run where there are no runs for the table."""
    ends = [f"{row['trainer']}/...{row['suffix']}" for row in table["variants"]]
    runs = f"runs of the task {table['task']}" + f" such as {', '.join(ends)}" * bool(ends)
    return UserError(f"no results for {table['name']} ({table['title']}): expected {runs}.\n{MAKE_SOME}")


def own_table(table: dict) -> Table:
    """The table as printed, on its own, so that its numbers stand beside no other backbone's."""
    cells, titles = [], table["columns"] if len(table["columns"]) > 1 else {AVERAGE: ""}
    for line, row in enumerate(table["rows"]):
        said = [row[key] for key in ("features", "flags") if key in row]
        method = row["method"] + f" ({'; '.join(said)})" * bool(said)
        for column, (key, metric) in enumerate(product(titles, table["metrics"])):
            words = {"line": line, "method": method, "column": column, "data set": titles[key], "metric": metric}
            cells.append({**words, "mean": row["values"].get(key, {}).get(metric)})
    frame = pd.DataFrame(cells).assign(spread=None, note="", line_note="", block="", plus=False).astype({"mean": float})
    notes = [table.get("note", ""), f"{table['backbone']}: not comparable with other backbones", *table["notes"]]
    title = f"As printed in {table['name']}: {table['title']}"
    return Table(title, frame, ["method"], ["data set", "metric"], [*filter(None, notes)])


def with_variants(table: dict, runs: list[dict]) -> dict[str, list[dict]]:
    """{configuration and shots: the runs of an ablation's rows}. Variants are options of one configuration, and end its
    name; rows without options stand on the data sets of the variants."""
    rows, found, parts = sorted(enumerate(table["rows"]), key=lambda pair: -len(pair[1]["suffix"])), [], {}
    for run in runs:
        for i, row in rows:
            if run["trainer"] == row["trainer"] and run["cfg"].endswith(row["suffix"]):
                words = " ".join(f"{key}={value}" for key, value in row.get("options", {}).items())
                title = row["method"] + run["config"].removeprefix(run["cfg"])
                base = run["cfg"].removesuffix(row["suffix"])
                found.append({**run, "title": title, "options": words, "order": (i,), "base": base})
                break
    for (base, shots), members in group_runs(found, "base", "shots").items():
        datasets = {run["dataset"] for run in members if run["options"]}
        if datasets:
            about = f"{base}, {shots_word(shots)} shots"
            parts[about] = [run for run in members if run["dataset"] in datasets]
    return parts
