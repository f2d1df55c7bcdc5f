#!/usr/bin/env python3
"""Runs a list of runs, configs/sweeps/<name>.yaml or a file of your own (its form: scripts/lib/sweeps.py).

    python scripts/sweep.py table1 --jobs 2
    python scripts/sweep.py my_runs.yaml --set seeds=1,2 --set cfg=vit_b16 --set OPTIM.MAX_EPOCH=20 --dry-run
    python scripts/sweep.py table1 --per-gpu 2
    python scripts/sweep.py table1 --slurm partition=gpu time=4:00:00 gpus_per_node=1
    python scripts/sweep.py table1 --status

--set changes cfg, datasets, seeds, shots or source (a data set), or gives all runs an option KEY of the configuration.
Done runs are skipped, broken off ones go on. A run that fails is not tried again; the exit code says that one failed.
DATA, BANK and OUTPUT as for scripts/base2new.sh. On one machine, on GPUs, on Slurm: docs/sweeps.md.
"""

import sys

from lib import sweeps
from lib.cli import Parser, execute, key_value
from lib.faults import say_errors
from lib.protocols import Plan
from lib.run import Place


def main() -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("file", help=f"a YAML file, or one of {', '.join(sweeps.names())}")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    args = parser.parse(sys.argv[1:])
    sweep, options = sweeps.load(args.file), list(args.options)
    for change in args.changes:
        key, value = key_value("--set", change)
        if key.isupper() or "." in key:
            options.append((key, value))
        else:
            sweep = sweep.changed(key, value)
    place = Place.from_environment()
    folders = [f"{place.output}/{sweep.task}/{dataset}" for dataset in sweep.datasets]
    report = (*sweep.report, *folders) if sweep.report else ()
    return execute(Plan(sweep.name, sweep.runs(tuple(options)), report, threads=1), place, args)


if __name__ == "__main__":
    say_errors(main)
