"""Tries to lose runs and to get wrong figures: kills, damaged files, races, strange surroundings, hostile files.

    python scripts/chaos.py                                       every part at length: hours
    python scripts/chaos.py --count 10                            ten cases of each part: minutes
    python scripts/chaos.py --parts kills,corruption --count 100 --seed 3 --output chaos

Runs are tiny (a shipped bank, a few made-up images), in a copy of the repository. A case has survived where its result
is that of a run left alone, and was refused where one sentence said why. Lost is everything else: another number, a
traceback, a hang, executed code, a process left behind. Exit code 1 if anything was lost. Linux only.
"""

import argparse
import random
import sys
import tempfile
import time

from lib.chaos.conditions import environment, races
from lib.chaos.damage import corruption
from lib.chaos.hostile import hostile
from lib.chaos.identity import identity
from lib.chaos.interruptions import files, kills
from lib.chaos.lab import Lab
from lib.faults import say_errors
from lib.run import UserError
from tabulate import tabulate

PARTS = {part.__name__: part for part in (kills, files, corruption, races, environment, identity, hostile)}
VERDICTS = ("survived", "refused", "lost")


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument(
        "--count", type=int, default=0, help="cases of each part (default: all, or as many as are usual)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn: times, bytes, cases")
    parser.add_argument(
        "--output", default="", help="folder that keeps the runs and their logs (default: a temporary one)"
    )
    parser.add_argument("--verbose", action="store_true", help="a line for each case, not only for lost ones")
    return parser.parse_args(argv)


def try_part(name, lab, args):
    """-> the row of a part: its name, cases tried, and the count of each verdict, seconds."""
    counts, began = dict.fromkeys(VERDICTS, 0), time.monotonic()
    for title, case in PARTS[name](lab, args.count, random.Random(f"{args.seed} {name}")):
        verdict, why = case()
        counts[verdict] += 1
        if args.verbose or verdict == "lost":
            print(f"{name}: {title}: {verdict}{f': {why}' if why else ''} (case {lab.made})", flush=True)
    return [name, sum(counts.values()), *counts.values(), round(time.monotonic() - began)]


def main(argv=None):
    args = parse_args(argv)
    parts = args.parts.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        raise UserError(f"--parts {','.join(unknown)}: there are {', '.join(PARTS)}")
    if args.count < 0:
        raise UserError(f"--count is {args.count}; it must be 0 (all) or more")
    with tempfile.TemporaryDirectory() as temporary:
        lab = Lab(args.output or temporary)
        rows = [try_part(part, lab, args) for part in parts]
    print(tabulate(rows, ["part", "tried", *VERDICTS, "seconds"]))
    return int(any(row[2 + VERDICTS.index("lost")] for row in rows))


if __name__ == "__main__":
    sys.exit(say_errors(main))
