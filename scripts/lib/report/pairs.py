"""What plug-ins change: X + plug-in minus X, seed by seed."""

import pandas as pd

from .runs import PLACE, differences, facts_frame, summarise
from .table import with_words


def simpler(row: pd.Series, rows: pd.DataFrame) -> list[int]:
    """Rows of the same method with one plug-in less, and without any: of the same configuration, or the only one."""
    method, *plugins = row["parts"]
    fewer = {(method, *(name for name in plugins if name != one)) for one in plugins} | {(method,)} - {row["parts"]}
    found = []
    for parts in sorted(fewer, key=lambda parts: (-len(parts), parts)):
        alike = rows[(rows["parts"] == parts) & (rows["backbone"] == row["backbone"])]
        same = alike[alike["config"] == row["config"]]
        found += [*(alike if same.empty and len(alike) == 1 else same).index]
    return found


def paired(values: pd.DataFrame, runs: pd.DataFrame, ci95: bool) -> tuple[pd.DataFrame, list[str]] | None:
    """(cells of X + plug-in minus X for each seed that both have and their mean, footnotes); None where there is no
    pair. `values`: [row, shots, dataset, seed] x metrics."""
    rows, pairs, changes, notes = runs.groupby("row").first(), [], {}, []
    facts = facts_frame(rows).to_dict("index")
    for i, j in [(i, j) for i, row in rows.iterrows() for j in simpler(row, rows)]:
        title = f"{rows.loc[i, 'trainer']} - {rows.loc[j, 'trainer']}"
        changes[len(pairs)] = (values.xs(i) - values.xs(j)).dropna(how="all")
        pairs.append(runs[runs["row"] == i].assign(row=len(pairs), trainer=title))
        unlike = differences(facts[i], facts[j], without=("TRAINER.", "classnames"))
        notes += [f"{title}: the first has {unlike}"] if unlike else []
    if not any(map(len, changes.values())):
        return None
    each = pd.concat(changes, names=["row"]).sort_index()
    seeds = each.stack().rename("mean").rename_axis([*PLACE, "seed", "metric"]).reset_index()
    means = summarise(each, ci95, mean_of_h=True).assign(seed="mean", turn=float("inf"))
    cells = pd.concat([seeds.assign(turn=seeds["seed"], count=1), means])
    return with_words(cells, pd.concat(pairs), [*values]).assign(plus=True), notes
