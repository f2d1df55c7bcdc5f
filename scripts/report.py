#!/usr/bin/env python3
"""Tables and charts of finished runs, from their results.json files alone.

python scripts/report.py output                                    base / new / H / all: a line for each trainer
python scripts/report.py output --layout paper --format markdown   in the layout of the paper's tables
python scripts/report.py --table 4 output                          one of the paper's tables, the paper's own below ours
python scripts/report.py output --paired --seconds --plot chart.png
"""

import argparse
import sys

from report_lib import ReportError
from report_lib.build import LAYOUTS, TABLES, Options, build
from report_lib.runs import Run, find, load
from report_lib.stats import Stat
from report_lib.table import render


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders with results.json files somewhere below")
    parser.add_argument("--format", choices=("text", "markdown", "csv"), default="text")
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="list",
        help="list: a row a dataset and trainer; paper: the paper's table of the task",
    )
    parser.add_argument(
        "--table",
        type=int,
        choices=TABLES,
        help="one of the paper's tables (4 to 6: the ablations), with its own below",
    )
    parser.add_argument(
        "--ci95", action="store_true", help="95%% interval, 1.96 std / sqrt(n), instead of the deviation"
    )
    parser.add_argument("--mean-of-h", action="store_true", help="mean of the runs' H instead of H of the means")
    parser.add_argument("--paired", action="store_true", help="add the differences X + SHIP minus X, seed by seed")
    parser.add_argument("--seconds", action="store_true", help="add the seconds of each stage and the peak memory")
    parser.add_argument("--papers-own", action="store_true", help="add the paper's own table, on its own, as printed")
    parser.add_argument("--wide", action="store_true", help="do not break wide tables into blocks")
    parser.add_argument("--plot", metavar="PATH", help="draw a chart: bars, or curves over shots for few-shot runs")
    return parser.parse_args(argv)


def print_report(runs: list[Run], options: Options, form: str = "text", plot: str | None = None) -> None:
    """Tables on stdout, warnings and (for CSV) footnotes on stderr, charts to `plot`."""
    tables, warnings = build(runs, options)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(render(tables, form))
    if form == "csv":
        for note in dict.fromkeys(note for table in tables for note in table.texts()[1]):
            print(note, file=sys.stderr)
    if plot:
        from report_lib.plots import draw  # matplotlib takes a second to import

        for path in draw(runs, plot, options.stat):
            print(f"chart: {path}", file=sys.stderr if form == "csv" else sys.stdout)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    runs, warnings = load(find(arguments.folders))
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    options = Options(
        layout=arguments.layout,
        table=arguments.table,
        stat=Stat(ci95=arguments.ci95, mean_of_h=arguments.mean_of_h),
        paired=arguments.paired,
        seconds=arguments.seconds,
        papers_own=arguments.papers_own,
        wide=arguments.wide or arguments.format == "csv",
    )
    print_report(runs, options, arguments.format, arguments.plot)


if __name__ == "__main__":
    try:
        main()
    except (ReportError, OSError) as error:
        sys.exit(print(f"error: {error}", file=sys.stderr) or 2)
