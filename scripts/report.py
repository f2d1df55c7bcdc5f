#!/usr/bin/env python3
"""Tables and charts of finished runs, from their results.json files alone.

python scripts/report.py output                                    base / new / H / all: a line per trainer
python scripts/report.py output --html report.html                 a page to look at: tables, charts, links to the runs
python scripts/report.py --table 1 output --format latex           in the layout of the paper's table, which follows
python scripts/report.py --table 4 output                          an ablation
python scripts/report.py --table 1 --beside output                 ours, the paper's, the difference
python scripts/report.py output --paired --seconds --plot chart.png
"""

import argparse
import gc
import sys

import _path  # noqa: F401
import pandas as pd
from lib.faults import say_errors
from lib.report import paper as papers
from lib.report.pairs import paired
from lib.report.runs import COST, NAMES, load, rank, summarise, values_of, with_averages, with_rows
from lib.report.table import FORMS, Table, arrange, footnotes, with_words

from trainers.core.files import UserError

MAIN = ["accuracy", "base", "new", "unseen", "seen", "H"]  # the columns of the papers' tables
JUDGES = ["ausuc", "openworld_auc", "auroc", "ece_base", "ece_new"]
METRICS = [*MAIN, "all", "all_base", "all_new", "all_H", "crossed_base", "crossed_new", *JUDGES]  # in their order
STAGES = [COST + name for name in ("backbone", "features", "generator", "finetune", "evaluate")]


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, switch = parser.add_argument, {"action": "store_true"}
    add("folders", nargs="+", metavar="DIR", help="folders with results.json files somewhere below")
    add("--format", choices=FORMS, default="text")
    add("--table", type=int, choices=range(1, 7), help="in the layout of one of the paper's tables (4 to 6: ablations)")
    add("--beside", **switch, help="each cell of ours, the paper's, and the difference")
    add("--metrics", nargs="+", metavar="NAME", default=[], help="the columns: base new H all all_H ...")
    add("--paper", choices=NAMES["papers"], default="ship", help="the paper whose tables and figures are meant")
    add("--ci95", **switch, help="95%% interval, 1.96 std / sqrt(n), instead of the deviation")
    add("--mean-of-h", **switch, help="mean of the runs' H instead of H of the means")
    add("--paired", **switch, help="add what plug-ins change: X + SHIP minus X, seed by seed")
    add("--seconds", **switch, help="add the seconds of each stage and the peak memory")
    add("--plot", metavar="PATH", help="draw a chart: bars, or curves over shots for few-shot runs")
    add("--html", metavar="FILE", help="write one page with the tables, charts and links to the runs")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Tables on stdout, warnings and (for CSV) footnotes on stderr, charts and a page where they were asked for."""
    options = parse_arguments(argv)
    runs, warnings = load(options.folders)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    known = {"H", "all_H"}.union(*runs["metrics"])
    for metric in options.metrics:
        if metric not in known:
            raise UserError(f"no run has the metric '{metric}'; metrics are {', '.join(METRICS)}")
    wanted = papers.paper_table(options.table, options.paper) if options.table else None
    tables = []
    for task in sorted(runs["task"].unique(), key=lambda task: rank(NAMES["tasks"], task)):
        if not wanted or wanted["task"] == task:
            tables += tables_of(task, runs[runs["task"] == task], options, wanted)
    if not tables:
        raise papers.nothing_of(wanted)
    if wanted:
        tables.append(papers.own_table(wanted))
    named = "# {}\n{}" if options.format == "csv" and len(tables) > 1 else "{1}"
    print("\n".join(named.format(table.title, table.render(options.format)) for table in tables), flush=True)
    aside = sys.stdout if options.format in ("text", "markdown") else sys.stderr
    if options.format == "csv":
        print("\n".join(dict.fromkeys(note for table in tables for note in table.notes)), file=aside)
    if options.plot:
        from lib.report.plots import draw  # matplotlib takes a second to import

        print(*(f"chart: {path}" for path in draw(tables, options.plot)), sep="\n", file=aside)
    if options.html:
        from lib.report.page import write_page

        print(f"page: {write_page(options.html, runs, tables, warnings)}", file=aside)


def tables_of(task: str, runs: pd.DataFrame, options: argparse.Namespace, wanted: dict | None) -> list[Table]:
    """The tables of one task: one for each source and, in a paper's layout, for each number of shots."""
    known = NAMES["tasks"].get(task, {})
    title, layout = known.get("title", task), "paper" if wanted else known.get("layout", "list")
    is_printed = NAMES["papers"][options.paper]["backbone"] in {*runs["backbone"]}
    printed = papers.main_table(task, options.paper) if is_printed and not wanted else wanted
    if wanted and wanted["variants"]:
        title, runs = f"{wanted['title']} ({wanted['name']})", papers.ablation(wanted, runs)
    tables = []
    for about, members in parts_of(runs, by_shots=layout == "paper").items():
        name = ", ".join(filter(None, [title, about, *sorted({*members["backbone"]})]))
        tables += tables_of_part(name, with_rows(members), layout, options, printed, wanted)
    return tables


def tables_of_part(name, runs, layout: str, options, printed: dict | None, wanted: dict | None) -> list[Table]:
    """The table of these runs, with the `printed` figures of a paper, and the paired differences and costs."""
    spread = f"mean ± {'95% interval' if options.ci95 else 'population deviation'} over seeds"
    values = values_of(runs)
    costs = sorted((one for one in values if one.startswith(COST)), key=lambda one: rank(STAGES, one))
    metrics = sorted({*values} - {*costs}, key=lambda one: rank(METRICS, one))
    main = [one for one in metrics if layout != "paper" or one in MAIN]
    shown = [one for one in options.metrics if one in metrics] or main or metrics
    notes = [note for start, note in NAMES["footnotes"].items() if any(one.startswith(start) for one in shown)]
    whole = with_averages(values[metrics], options.mean_of_h)
    cells = with_words(summarise(whole, options.ci95, options.mean_of_h), runs, shown)
    if printed:
        cells = papers.with_printed(cells, printed, options.beside, options.mean_of_h)
    more = footnotes(runs) + (papers.not_run(wanted, runs) if wanted else [])
    form = "beside" if options.beside else layout
    tables = [arrange(f"{name}: {spread}, percent", cells, form, notes + more)]
    if options.paired and (pairs := paired(whole[shown], runs, options.ci95)):
        tables.append(
            arrange(f"{name}: paired differences per seed, {spread}, points", pairs[0], "paired", notes + pairs[1])
        )
    if options.seconds and costs:
        seconds = with_words(summarise(values[costs], False, True).assign(spread=None), runs, costs)
        seconds["metric"] = seconds["metric"].str.removeprefix(COST)
        tables.append(arrange(f"{name}: seconds per stage, mean over seeds", seconds, "list", []))
    return tables


def parts_of(runs: pd.DataFrame, by_shots: bool) -> dict[str, pd.DataFrame]:
    """{what the title says of a table: its runs}. What learns nothing (zero-shot) has no source: it stands in the table
    of each source on its targets."""
    parts, free = {}, runs[runs["source"] == ""]
    for (base, source, *shots), members in runs.groupby(["base", "source", *["shots"] * by_shots]):
        about = [base, f"trained on {NAMES['datasets'].get(source, source)}" if source else ""]
        about += [f"{count if count > 0 else 'all'} shots" for count in shots]
        if source:
            here = free["dataset"].isin(members["dataset"]) & free["shots"].isin(shots or members["shots"])
            members = pd.concat([members, free[here].assign(source=source)])
        if source or len(free) == len(runs):
            parts[", ".join(filter(None, about))] = members
    return parts


if __name__ == "__main__":
    gc.disable()  # what thousands of runs hold has no cycles to look for
    say_errors(main)
