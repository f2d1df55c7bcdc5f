"""The papers' tables, configs/papers/<paper>/table<n>.yaml: their figures beside ours, and on their own."""

from functools import cache
from itertools import product

import pandas as pd
import yaml

from trainers.core.files import UserError

from .numbers import AVERAGE
from .runs import NAMES, PAPERS
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
    table["is_ablation"] = any(row["suffix"] for row in table["rows"])
    table["name"] = f"{NAMES['papers'][paper]['title']}, Table {number}"
    # an ablation that prints the average alone has the data sets of Table 1
    table["datasets"] = {*table["columns"]} - {AVERAGE} or paper_table(1, paper)["datasets"]
    return table


def with_printed(cells: pd.DataFrame, table: dict, mean_of_h: bool) -> pd.DataFrame:
    """With the paper's figures, and what ours are above them, in lines below ours: for runs on the paper's backbone,
    from its source, with its number of shots. Its average stands beside one over the same data sets, by its rule."""
    first, measured = cells.iloc[0], {*cells["dataset"]} - {AVERAGE}
    same = first["backbone"] == table["backbone"] and {*cells["source"]} <= {table["source"], ""}
    if not same or not table["verified"] or table["shots"] not in (None, first["at"]):
        return cells
    key, ours = ("method", "title") if table["is_ablation"] else ("trainer", "trainer")
    rows = {row.get(key): row["values"] for row in table["rows"]}
    theirs = cells[cells["metric"].isin(table["metrics"])]
    if mean_of_h or measured != table["datasets"]:
        theirs = theirs[theirs["dataset"] != AVERAGE]
    places = theirs[[ours, "dataset", "metric"]].itertuples(index=False)
    figures = [rows.get(name, {}).get(dataset, {}).get(metric) for name, dataset, metric in places]
    theirs = theirs.assign(mean=pd.Series(figures, theirs.index, float), spread=float("nan"), count=0)
    change = theirs.assign(mean=cells["mean"] - theirs["mean"], whose=2, method="  difference", sign="+")
    beside = pd.concat([theirs.assign(whose=1, method="  in the paper"), change])
    return pd.concat([cells, beside.dropna(subset="mean")])


def own_table(table: dict) -> Table:
    """The table as printed, on its own, so that its numbers stand beside no other backbone's."""
    places, cells = sorted(table["columns"], key=lambda name: name == AVERAGE), []
    for line, row in enumerate(table["rows"]):
        about = "; ".join(row[key] for key in ("features", "flags") if key in row)
        method = f"{row['method']} ({about})" if about else row["method"]
        for column, (place, metric) in enumerate(product(places, table["metrics"])):
            words = {"line": line, "method": method, "column": column, "metric": metric}
            mean = row["values"].get(place, {}).get(metric)
            cells.append({**words, "data set": table["columns"][place] * (len(places) > 1), "mean": mean})
    frame = pd.DataFrame(cells).assign(spread=float("nan"), sign="", best=False).astype({"mean": float})
    notes = [f"{table['backbone']}: not comparable with other backbones", *table["notes"]]
    title = f"As printed in {table['name']}: {table['title']}"
    return Table(title, frame, ["method"], ["data set", "metric"], notes)


def ablation(table: dict, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of an ablation's rows, with the row's title and rank: its options end the name of a configuration. Rows
    without options stand on the data sets of the variants."""
    parts = []
    for i, row in sorted(enumerate(table["rows"]), key=lambda pair: -len(pair[1]["suffix"])):
        here = (runs["trainer"] == row["trainer"]) & runs["cfg"].str.endswith(row["suffix"])
        part, runs = runs[here], runs[~here]
        base = part["cfg"].str.removesuffix(row["suffix"])
        parts.append(part.assign(title=row["method"], rank=[(i,)] * len(part), base=base))
    found, key = pd.concat(parts), ["base", "shots", "dataset"]
    variants = pd.MultiIndex.from_frame(found.loc[found["base"] != found["cfg"], key])
    return found[pd.MultiIndex.from_frame(found[key]).isin(variants)]
