#!/usr/bin/env python3
"""Tables and charts of finished runs, from their results.json files alone.

python scripts/report.py output                                    base / new / H / all: a line per trainer
python scripts/report.py output --html report.html                 a page to look at: tables, charts, links to the runs
python scripts/report.py --table 1 output --format latex           in the layout of the paper's table, which follows
python scripts/report.py --table 4 output                          an ablation
python scripts/report.py output --paired --seconds --plot chart.png
"""

import argparse
import sys

import _path  # noqa: F401
from lib.faults import say_errors


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, switch = parser.add_argument, {"action": "store_true"}
    add("folders", nargs="+", metavar="DIR", help="folders with results.json files somewhere below")
    add("--format", choices=("text", "markdown", "csv", "latex", "html"), default="text")
    add("--table", type=int, choices=range(1, 7), help="in the layout of one of the paper's tables (4 to 6: ablations)")
    add("--metrics", nargs="+", metavar="NAME", default=[], help="the columns: base new H all all_H ...")
    add("--paper", choices=("ship", "pva", "gda"), default="ship", help="the paper whose figures are meant")
    add("--ci95", **switch, help="95%% interval, 1.96 std / sqrt(n), instead of the deviation")
    add("--mean-of-h", **switch, help="mean of the runs' H instead of H of the means")
    add("--paired", **switch, help="add what plug-ins change: X + SHIP minus X, seed by seed")
    add("--seconds", **switch, help="add the seconds of each stage and the peak memory")
    add("--plot", metavar="PATH", help="draw a chart: bars, or curves over shots for few-shot runs")
    add("--html", metavar="FILE", help="write one page with the tables, charts and links to the runs")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Tables on stdout; warnings, footnotes of CSV and the names of other files on stderr."""
    options = parse_arguments(argv)
    from lib.report.runs import load  # pandas and matplotlib are imported where they are needed
    from lib.report.tables import tables_of

    runs, warnings = load(options.folders)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    tables = tables_of(runs, options)
    named = "# {}\n{}" if options.format == "csv" and len(tables) > 1 else "{1}"
    print("\n".join(named.format(table.title, table.render(options.format)) for table in tables), flush=True)
    if options.format == "csv":
        print(*dict.fromkeys(note for table in tables for note in table.notes), sep="\n", file=sys.stderr)
    if options.plot or options.html:
        from lib.report import plots

        if options.plot:
            plots.draw(tables, options.plot)
        if options.html:
            plots.write_page(options.html, runs, tables, warnings)


if __name__ == "__main__":
    say_errors(main)
