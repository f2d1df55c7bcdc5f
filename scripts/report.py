#!/usr/bin/env python3
"""Tables and charts of finished runs, from their results.json files alone.

python scripts/report.py output                                    base / new / H / all: a line per trainer
python scripts/report.py output --html report.html                 a page to look at: tables, charts, links to the runs
python scripts/report.py --table 1 output --format latex           in the layout of the paper's table
python scripts/report.py --table 4 output                          an ablation; the paper's own table follows
python scripts/report.py --table 1 --beside output                 ours, the paper's, the difference
python scripts/report.py output --paired --seconds --plot chart.png
"""

import argparse
import sys

import _path  # noqa: F401
import pandas as pd
from lib.faults import say_errors
from lib.report import paper as papers
from lib.report.pairs import paired
from lib.report.runs import (
    COST,
    H_OF,
    NAMES,
    group_runs,
    load,
    rank,
    rows_of,
    shots_word,
    summarise,
    values_of,
    with_averages,
)
from lib.report.table import FORMS, Table, arrange, with_words

from trainers.core.files import UserError

MAIN = ("accuracy", "base", "new", "unseen", "seen", "H")  # the columns of the papers' tables
JUDGES = ("ausuc", "openworld_auc", "auroc", "ece_base", "ece_new")
METRICS = (*MAIN, "all", "all_base", "all_new", "all_H", "crossed_base", "crossed_new", *JUDGES)  # in their order
STAGES = [COST + name for name in ("backbone", "features", "generator", "finetune", "evaluate")]


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, switch = parser.add_argument, {"action": "store_true"}
    add("folders", nargs="+", metavar="DIR", help="folders with results.json files somewhere below")
    add("--format", choices=FORMS, default="text")
    add("--layout", choices=("list", "paper"), default="list", help="paper: a line per method, columns per data set")
    add("--table", type=int, choices=range(1, 7), help="one of the paper's tables (4 to 6: ablations)")
    add("--beside", **switch, help="each cell of ours, the paper's, and the difference")
    add("--metrics", nargs="+", metavar="NAME", help="the columns: base new H all all_H ...")
    add("--paper", choices=NAMES["papers"], default="ship", help="the paper that --table and the layouts are of")
    add("--ci95", **switch, help="95%% interval, 1.96 std / sqrt(n), instead of the deviation")
    add("--mean-of-h", **switch, help="mean of the runs' H instead of H of the means")
    add("--paired", **switch, help="add what plug-ins change: X + SHIP minus X, seed by seed")
    add("--seconds", **switch, help="add the seconds of each stage and the peak memory")
    add("--papers-own", **switch, help="add the paper's own tables, on their own, as printed")
    add("--mix", **switch, help="average runs that differ in more than their seed all the same; a footnote says it")
    add("--plot", metavar="PATH", help="draw a chart: bars, or curves over shots for few-shot runs")
    add("--html", metavar="FILE", help="write one page with the tables, charts and links to the runs")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Tables on stdout, warnings and (for CSV) footnotes on stderr, charts and a page where they were asked for."""
    options = parse_arguments(argv)
    runs, warnings = load(options.folders, options.mix)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    wanted = papers.paper_table(options.table, options.paper) if options.table else None
    for metric in options.metrics or ():
        if not any(metric in {**run["values"], "H": 0, "all_H": 0} for run in runs):
            raise UserError(f"no run has the metric '{metric}'; metrics are {', '.join(METRICS)}")
    tables = []
    for (task,), members in sorted(group_runs(runs, "task").items(), key=lambda pair: rank(NAMES["tasks"], *pair[0])):
        if not wanted or wanted["task"] == task:
            tables += tables_of(task, members, options, wanted)
    if not tables:
        raise papers.nothing_of(wanted)
    named = "# {}\n{}" if options.format == "csv" and len(tables) > 1 else "{1}"
    text = "\n".join(named.format(table.title, table.render(options.format)) for table in tables)
    print(text, flush=True)
    aside = sys.stdout if options.format in ("text", "markdown") else sys.stderr
    if options.format == "csv":
        print("\n".join(note for table in tables for note in table.strings("text")[1]), file=aside)
    if options.plot:
        from lib.report.plots import draw  # matplotlib takes a second to import

        print(*(f"chart: {path}" for path in draw(tables, options.plot)), sep="\n", file=aside)
    if options.html:
        from lib.report.page import write_page

        print(f"page: {write_page(options.html, runs, tables, warnings)}", file=aside)


def tables_of(task: str, runs: list[dict], options: argparse.Namespace, wanted: dict | None) -> list[Table]:
    """The tables of one task; `wanted`: one of the paper's."""
    known = {"title": task, "layout": "paper" if wanted else options.layout} | NAMES["tasks"].get(task, {})
    title, layout, own = known["title"], known["layout"], [wanted] if wanted else []
    printed = any(run["backbone"] == NAMES["papers"][options.paper]["backbone"] for run in runs)
    if not own and (options.papers_own or printed):
        own = papers.main_tables(task, options.paper)
    names = {name for run in runs for name in (*run["values"], *run["notes"])}
    names |= {name for name, *parts in H_OF if {*parts} <= names}
    names = sorted(names, key=lambda name: rank(METRICS, name))
    metrics = [name for name in names if not name.startswith(COST)]
    costs = sorted({*names} - {*metrics}, key=lambda name: rank(STAGES, name))
    parts = parts_of(runs, layout)
    if wanted and wanted["variants"]:
        title, parts, layout = f"{wanted['title']} ({wanted['name']})", papers.with_variants(wanted, runs), "variants"
    layout = "beside" if options.beside else layout
    shown = [name for name in options.metrics or () if name in metrics]
    shown = shown or [name for name in metrics if layout == "list" or name in MAIN] or metrics
    spread = f"mean ± {'95% interval' if options.ci95 else 'population deviation'} over seeds"
    notes = [note for start, note in NAMES["footnotes"].items() if any(name.startswith(start) for name in shown)]
    tables = []
    for about, members in parts.items():
        rows = rows_of(members)
        name = ", ".join(filter(None, [title, about, *sorted({row["backbone"] for row in rows})]))
        values = values_of(members, [*metrics, *shown, *costs])
        whole = with_averages(values.drop(columns=costs), options.mean_of_h)
        cells = with_words(summarise(whole, options.ci95, options.mean_of_h), rows, members, shown)
        if own and own[0]["verified"]:
            cells = papers.with_printed(cells, rows, own[0], layout, options.mean_of_h)
        pairs = paired(whole[shown], rows, members, options) if options.paired or layout == "targets" else None
        if layout == "targets" and pairs is not None:
            means = pairs[pairs["seed"] == "mean"]
            means = means.assign(method="Δ to " + means["to"], spread=None, line_note="", whose=means["row"] + 2)
            cells = pd.concat([cells, means.assign(row=means["ours"])])
        slug = f"{task} {about}".strip()
        missing = papers.not_run(wanted, rows) if wanted else []
        tables.append(arrange(f"{name}: {spread}, percent", cells, layout, notes + missing, name=slug))
        if options.paired and pairs is not None:
            tables.append(arrange(f"{name}: paired differences per seed, {spread}, points", pairs, "paired", notes))
        if options.seconds and costs:
            seconds = with_words(summarise(values[costs], False, True).assign(spread=None), rows, members, costs)
            seconds["metric"] = seconds["metric"].str.removeprefix(COST)
            tables.append(arrange(f"{name}: seconds per stage, mean over seeds", seconds, "list", [], digits=1))
    if tables and (wanted or options.papers_own):
        tables += [papers.own_table(one) for one in own if one["verified"] or options.papers_own]
    return tables


def parts_of(runs: list[dict], layout: str) -> dict[str, list[dict]]:
    """{what the title says of a table: its runs}. What learns nothing (zero-shot) has no source: it stands in the table
    of each source on its targets."""
    parts = {}
    for (source, shots), members in sorted(group_runs(runs, "source", "shots").items()):
        about = f"{shots_word(shots)} shots"
        if source:
            about = f"trained on {NAMES['datasets'].get(source, source)}, {about}"
            free = [run for run in runs if (run["source"], run["shots"]) == ("", shots)]
            targets = {run["dataset"] for run in members}
            members = members + [{**run, "source": source} for run in free if run["dataset"] in targets]
        if source or not any(run["source"] for run in runs):
            parts[about] = members
    return parts if layout in ("paper", "targets") else {"": runs}


if __name__ == "__main__":
    say_errors(main)
