#!/usr/bin/env python3
"""Zero-shot, CoOp and CoOp + SHIP from base to new classes, on image features that ship with the repository.

    bash scripts/quickstart.sh                                  Caltech101, seed 1: a minute and a half on two cores
    bash scripts/quickstart.sh --seeds 1 2 3 --datasets caltech101 eurosat

Finished runs are kept and skipped, interrupted ones go on where they stopped. The table and the chart at the end are
those of  python scripts/report.py output/base2new."""

import argparse
import importlib.util

from lib import choices
from lib.cli import report
from lib.faults import say_errors
from lib.launch import Launcher
from lib.run import Place, Run, UserError, seen_from_user

TRAINERS, CFG = ("ZeroshotCLIP", "CoOp", "CoOp_SHIP"), "miniclip_ep20"
NEEDED = ("torch", "clip", "yacs", "safetensors", "matplotlib", "yaml")


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], metavar="SEED")
    parser.add_argument("--datasets", nargs="+", default=["caltech101"], metavar="NAME")
    parser.add_argument("--output", default="", metavar="DIR", help="folder of the results (default: output)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    place = Place(output=seen_from_user(arguments.output)) if arguments.output else Place()
    runs = [
        Run("base2new", dataset, trainer, choices.shortened(trainer, CFG), seed)
        for dataset in dict.fromkeys(arguments.datasets)
        for seed in dict.fromkeys(arguments.seeds)
        for trainer in TRAINERS
    ]
    choices.check(runs)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"no module named {', '.join(missing)}; run  bash scripts/quickstart.sh  to set up")
    code = Launcher(runs, place).run()
    if code:
        return code
    paired = ["--paired"] if len(arguments.seeds) > 1 else []
    files = [str(run.results(place)) for run in runs]
    return report([*files, *paired, "--seconds", "--plot", f"{place.output}/base2new.png"])


if __name__ == "__main__":
    say_errors(main)
