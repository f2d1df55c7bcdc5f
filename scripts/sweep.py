#!/usr/bin/env python3
"""Runs a list of runs, configs/sweeps/<name>.yaml or a file of your own (its form: scripts/lib/sweeps.py).

    python scripts/sweep.py table1 --jobs 2
    python scripts/sweep.py my_runs.yaml --set seeds=1,2 --set cfg=vit_b16 --set OPTIM.MAX_EPOCH=20 --dry-run

--set changes cfg, datasets, seeds, shots or source (a data set), or gives all runs an option KEY of the configuration.
Done runs are skipped, broken off ones go on. A run that fails is not tried again; the exit code says that one failed.
DATA, BANK and OUTPUT as for scripts/base2new.sh.
"""

import argparse
import sys

from lib import sweeps
from lib.cli import execute, say_errors
from lib.protocols import Plan
from lib.run import Place, UserError


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help=f"a YAML file, or one of {', '.join(sweeps.names())}")
    parser.add_argument("--jobs", default="", metavar="N", help="runs side by side (default: 1, or JOBS)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and run nothing")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    args = parse_args(argv)
    sweep, options = sweeps.load(args.file), []
    for change in args.changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"--set takes KEY=VALUE, found '{change}'")
        if key.isupper() or "." in key:
            options.append((key, value))
        else:
            sweep = sweep.changed(key, value)
    place = Place.from_environment()
    folders = [f"{place.output}/{sweep.task}/{dataset}" for dataset in sweep.datasets]
    report = (*sweep.report, *folders) if sweep.report else ()
    return execute(Plan(sweep.name, sweep.runs(tuple(options)), report, threads=1), place, args.jobs, args.dry_run)


if __name__ == "__main__":
    sys.exit(say_errors(main))
