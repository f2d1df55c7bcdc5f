#!/usr/bin/env python3
"""Tables and charts of finished runs, from their results.json files alone.

python scripts/report.py output                                    base / new / H / all: a line for each trainer
python scripts/report.py output --html report.html                 a page to look at: tables, charts, seeds, links
python scripts/report.py output --layout paper --format latex      in the layout of the paper's tables
python scripts/report.py --table 4 output                          one of the paper's tables, the paper's own below ours
python scripts/report.py output --paired --seconds --plot chart.png
"""

import argparse
import sys

from lib.faults import say_errors
from lib.report.apart import sort_out
from lib.report.build import LAYOUTS, TABLES, build
from lib.report.paper import FIRST, names
from lib.report.runs import find, load
from lib.report.table import FORMS, render

PLAIN = {"±": "+-", "Δ": "diff", "−": "-"}


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, switch = parser.add_argument, {"action": "store_true"}
    add("folders", nargs="+", metavar="DIR", help="folders with results.json files somewhere below")
    add("--format", choices=FORMS, default="text")
    add("--layout", choices=LAYOUTS, default="list", help="list: a row a dataset and trainer; paper: the paper's table")
    add("--table", type=int, choices=TABLES, help="one of the paper's tables (4 to 6: ablations), with its own below")
    add("--paper", choices=names()["papers"], default=FIRST, help="the paper that --table and the layouts are of")
    add("--ci95", **switch, help="95%% interval, 1.96 std / sqrt(n), instead of the deviation")
    add("--mean-of-h", **switch, help="mean of the runs' H instead of H of the means")
    add("--paired", **switch, help="add what plug-ins change: X + SHIP minus X, seed by seed")
    add("--seconds", **switch, help="add the seconds of each stage and the peak memory")
    add("--papers-own", **switch, help="add the papers' own tables, on their own, as printed")
    add("--mix", **switch, help="average runs that differ in more than their seed all the same; a footnote says it")
    add("--wide", **switch, help="do not break wide tables into blocks")
    add("--plot", metavar="PATH", help="draw a chart: bars, or curves over shots for few-shot runs")
    add("--html", metavar="FILE", help="write one page with all tables, charts, seeds and links to the runs")
    parser.set_defaults(folded=False)  # True for a page: the seeds of paired differences stay in their mean's cell
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Tables on stdout, warnings and (for CSV) footnotes on stderr, charts and a page where they were asked for."""
    options = parse_arguments(argv)
    form = options.format
    runs, skipped = load(find(options.folders))
    runs, doubts = sort_out(runs, options.mix)
    for warning in skipped + doubts:
        print(f"warning: {warning}", file=sys.stderr)
    options.wide |= form in ("csv", "latex")
    tables = build(runs, options)
    print(for_terminal(render(tables, form)), flush=True)
    if form == "csv":
        for note in dict.fromkeys(note for table in tables for note in table.footnotes()):
            print(note, file=sys.stderr)
    aside = sys.stdout if form in ("text", "markdown") else sys.stderr
    if options.plot:
        from lib.report.plots import draw  # matplotlib takes a second to import

        for path in draw(runs, options.plot, options):
            print(f"chart: {path}", file=aside)
    if options.html:
        from lib.report.page import write_page

        print(f"page: {write_page(options.html, runs, options, skipped + doubts)}", file=aside)


def for_terminal(text: str) -> str:
    """± as +- and so on, where the terminal lacks the sign."""
    encoding = sys.stdout.encoding or "utf-8"
    lacking = {sign: words for sign, words in PLAIN.items() if sign.encode(encoding, "ignore") == b""}
    return text.translate(str.maketrans(lacking))


if __name__ == "__main__":
    say_errors(main)
