"""Which tables a report has: those of each task, source and, in a paper's layout, number of shots."""

from argparse import Namespace
from collections.abc import Iterator

import pandas as pd

from trainers.core.files import UserError

from . import paper
from .numbers import PLACE, paired, summarise, with_averages, with_h
from .runs import COST, MAKE_SOME, NAMES, rank, with_rows
from .table import Table, arrange, footnotes, with_words

MAIN = ["accuracy", "base", "new", "unseen", "seen", "H"]  # the columns of the papers' tables
JUDGES = ["ausuc", "openworld_auc", "auroc", "ece_base", "ece_new"]
METRICS = [*MAIN, "all", "all_base", "all_new", "all_H", "crossed_base", "crossed_new", *JUDGES]  # in their order
STAGES = [COST + name for name in ("backbone", "features", "generator", "finetune", "evaluate")]


def tables_of(runs: pd.DataFrame, options: Namespace) -> list[Table]:
    """All tables of these runs. Raises UserError where none has a metric, or is of the task that was asked for."""
    if unknown := {*options.metrics}.difference({"H", "all_H"}, *runs["metrics"]):
        raise UserError(f"no run has the metric {min(unknown)!r}; metrics are {', '.join(METRICS)}")
    wanted = paper.paper_table(options.table, options.paper) if options.table else None
    if wanted:
        runs = runs[runs["task"] == wanted["task"]]
        runs = paper.ablation(wanted, runs) if wanted["is_ablation"] else runs
        if runs.empty:
            what = f"runs of the task {wanted['task']} with the options of its rows"
            raise UserError(f"no results for {wanted['name']} ({wanted['title']}): expected {what}\n{MAKE_SOME}")
    tables = [one for part in parts_of(runs, wanted) for one in tables_of_part(*part, options, wanted)]
    return [*tables, paper.own_table(wanted)] if wanted else tables


def parts_of(runs: pd.DataFrame, wanted: dict | None) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(title, layout, runs) of each table. What learns nothing (zero-shot) has no source: it stands in the table of
    each source on its targets."""
    for task in sorted(runs["task"].unique(), key=lambda task: rank(NAMES["tasks"], task)):
        known = {"title": task, "layout": "list"} | NAMES["tasks"].get(task, {})
        known |= {"title": wanted["title"], "layout": "paper"} if wanted else {}
        keys = ["backbone", "k"] if known["layout"] == "paper" else ["backbone"]
        for (backbone, *shots), here in runs[runs["task"] == task].groupby(keys):
            for source in sorted({*here["source"]} - {""}) or [""]:
                targets = here.loc[here["source"] == source, "dataset"]
                part = here[here["source"].isin([source, ""]) & here["dataset"].isin(targets)]
                trained = [f"trained on {NAMES['datasets'].get(source, source)}"] * bool(source)
                words = [known["title"], *trained, *(f"{k} shots" for k in shots), backbone]
                yield ", ".join(words), known["layout"], with_rows(part)


def tables_of_part(name: str, layout: str, runs, options: Namespace, wanted: dict | None) -> list[Table]:
    """The table of these runs, with the figures of a paper, and the paired differences and costs."""
    spread = f"mean ± {'95% interval' if options.ci95 else 'population deviation'} over seeds"
    index = pd.MultiIndex.from_frame(runs[[*PLACE, "seed"]])
    values = with_h(pd.DataFrame([*runs["metrics"]], index, dtype=float))  # and costs
    costs = sorted((one for one in values if one.startswith(COST)), key=lambda one: rank(STAGES, one))
    metrics = sorted({*values} - {*costs}, key=lambda one: rank(METRICS, one))
    main = [one for one in metrics if layout != "paper" or one in MAIN]
    shown = [one for one in options.metrics if one in metrics] or main or metrics
    notes = [note for start, note in NAMES["footnotes"].items() if any(one.startswith(start) for one in shown)]
    whole = with_averages(values[metrics], options.mean_of_h)
    cells = with_words(summarise(whole, options.ci95, options.mean_of_h), runs, shown)
    if wanted:
        cells = paper.with_printed(cells, wanted, options.mean_of_h)
    tables = [arrange(f"{name}: {spread}, percent", cells, layout, notes + footnotes(runs))]
    if options.paired and (pairs := paired(whole[shown], runs, options.ci95)):
        cells = with_words(pairs[0], pairs[1], shown).assign(sign="+")
        title = f"{name}: paired differences per seed, {spread}, points"
        tables.append(arrange(title, cells, "paired", notes + pairs[2]))
    if options.seconds and costs:
        cells = with_words(summarise(values[costs], False, True).assign(spread=float("nan")), runs, costs)
        cells["metric"] = cells["metric"].str.removeprefix(COST)
        tables.append(arrange(f"{name}: seconds per stage, mean over seeds", cells, "list", []))
    return tables
