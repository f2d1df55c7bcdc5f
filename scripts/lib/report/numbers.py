"""Runs -> mean and spread over seeds, of values and of what plug-ins change."""

import numpy as np
import pandas as pd

from .runs import differences

H_OF = (("H", "base", "new"), ("H", "unseen", "seen"), ("all_H", "all_base", "all_new"))
PLACE = ["row", "shots", "dataset"]
AVERAGE = "average"


def with_h(values: pd.DataFrame) -> pd.DataFrame:
    """H = 2ab / (a + b) of each line, whatever its file says; NaN where it has only one of the two."""
    for name, a, b in H_OF:
        if {a, b} <= {*values}:
            total = values[a] + values[b]
            values[name] = (2 * values[a] * values[b] / total).mask(total == 0, 0.0)
    return values


def with_averages(values: pd.DataFrame, mean_of_h: bool) -> pd.DataFrame:
    """With a run per row and seed that is the mean over all data sets, where there are several. It has a value where
    all seeds of the row have one on each. `values`: [row, shots, dataset, seed] x metrics."""
    groups = values.groupby(level=["row", "shots", "seed"])
    datasets = values.reset_index("dataset").groupby(level="shots")["dataset"].transform("nunique")
    datasets = datasets.groupby(level=["row", "shots", "seed"]).first()
    means = groups.mean().where(groups.count().eq(datasets, axis=0))[datasets > 1]
    means = means.where(means.notna().groupby(level=["row", "shots"]).transform("all"))
    means = pd.concat({AVERAGE: means if mean_of_h else with_h(means)}, names=["dataset"])
    return pd.concat([values, means.reorder_levels(values.index.names)])


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
    return pd.DataFrame(columns).rename_axis([*PLACE, "metric"]).reset_index().assign(whose=0)


def paired(values: pd.DataFrame, runs: pd.DataFrame, ci95: bool) -> tuple[pd.DataFrame, pd.DataFrame, list[str]] | None:
    """What plug-ins change, X + plug-in minus X: (cells for each seed that both have and for their mean, the runs of
    each pair, footnotes); None where there is no pair. `values`: [row, shots, dataset, seed] x metrics."""
    rows, pairs, changes, notes = runs.groupby("row").first(), [], {}, []
    for i, row in rows.iterrows():
        for j, other in simpler(row, rows).iterrows():
            title, number = f"{row['trainer']} - {other['trainer']}", len(pairs)
            pairs.append(runs[runs["row"] == i].assign(row=number, trainer=title))
            changes[number] = (values.xs(i) - values.xs(j)).dropna(how="all")
            if unlike := differences(row["facts"], other["facts"], without=("TRAINER.NAME", "classnames")):
                notes.append(f"{title}: the first has {unlike}")
    if not any(map(len, changes.values())):
        return None
    each = pd.concat(changes, names=["row"]).sort_index()
    seeds = each.stack().rename("mean").rename_axis([*PLACE, "seed", "metric"]).reset_index()
    means = summarise(each, ci95, mean_of_h=True).assign(seed="mean", whose=float("inf"))
    return pd.concat([seeds.assign(whose=seeds["seed"], count=1), means]), pd.concat(pairs), notes


def simpler(row: pd.Series, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the same method with one plug-in less, and without any: of the same configuration, or the only one."""
    method, *plugins = row["parts"]
    fewer = {(method, *(name for name in plugins if name != one)) for one in plugins} | {(method,)} - {row["parts"]}
    found = rows[rows["parts"].isin(fewer)]
    same = (found["config"] == row["config"]) | ~found.duplicated("parts", keep=False)
    return found[same][::-1]
