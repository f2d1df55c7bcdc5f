#!/usr/bin/env python3
"""Every table of SHIP's paper on your machine, each cell beside the paper's.

    bash scripts/reproduce.sh DATA               checks weights, data and zero-shot figures; then all runs, seeds 1 to 3
    bash scripts/reproduce.sh DATA 1             one seed
    bash scripts/reproduce.sh DATA --dry-run     shows everything, runs nothing
    bash scripts/reproduce.sh DATA 1 --tables 1 --datasets caltech101 dtd --cfg miniclip

It stops at the first check that fails and says what to do. The same command goes on from where it was interrupted: done
runs are skipped. OUTPUT names the folder of the results (default: output), BANK a feature bank that takes the place of
images. Options of all runs come last, after --: KEY VALUE ..., and name their own folders.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import _path  # noqa: F401
from lib import sweeps
from lib.cli import Parser, launcher_of, look_only, refuse_without_set_up
from lib.compare import Row, compare, paper_table
from lib.estimate import calibrate, work_of
from lib.faults import say_errors
from lib.launch import with_sources
from lib.protocols import PAPER_DATASETS
from lib.run import ROOT, Options, Place, Run, UserError, seen_from_user
from lib.status import clock

SWEEPS = {1: "table1", 2: "table2", 3: "table3", 4: "ablation4", 5: "ablation5", 6: "ablation6"}


def parse_args(argv):
    parser = Parser(
        description=__doc__,
        usage="bash scripts/reproduce.sh DATA [SEED ...] [--tables N ...] [...] [-- KEY VALUE ...]",
    )
    add = parser.add_argument
    add("data", help="folder that holds the data sets; `python scripts/data.py list` names them")
    add("seeds", nargs="*", default=["1 2 3"], help="1 2 3 unless given")
    add("--tables", nargs="+", type=int, choices=SWEEPS, default=list(SWEEPS), help="of the paper; all unless given")
    add("--datasets", nargs="+", default=[], help="these alone of each table's data sets")
    add("--cfg", default="vit_b16", help="the family of configurations; the paper's is vit_b16")
    add("--source", default="imagenet", help="Table 2's source")
    add("--skip-check", action="store_true", help="do not check the data sets")
    add("--skip-verify", action="store_true", help="do not verify zero-shot figures")
    args = parser.parse(argv)
    args.seeds = " ".join(args.seeds)
    return args


def tables_of(args) -> dict[int, sweeps.Sweep]:
    """{number of the table: its runs as a sweep}"""
    found = {}
    for number in sorted(set(args.tables)):
        sweep = sweeps.load(SWEEPS[number]).changed("cfg", args.cfg).changed("seeds", args.seeds)
        of = sweep.datasets if number == 3 else datasets_of(number, args.source)
        if of := tuple(name for name in of if not args.datasets or name in args.datasets):
            found[number] = replace(sweep, datasets=of, source_dataset=args.source)
    if not found:
        raise UserError(f"none of the tables has one of these data sets: {', '.join(args.datasets)}")
    return found


def datasets_of(table: int, source: str) -> list[str]:
    """The paper's, in Table 2 without the source."""
    return [name for name in PAPER_DATASETS if table != 2 or name != source]


def rows_of(tables: dict[int, sweeps.Sweep], options: Options) -> list[Row]:
    """All runs, each with the options that make it a variant."""
    return [Row(run, run.options[len(options) :]) for sweep in tables.values() for run in sweep.runs(options)]


def configurations(place: Place) -> Callable:
    """run -> its resolved configuration, from train.py itself."""
    import train  # PyTorch: only when something is to be run

    @cache
    def configuration(run: Run):
        return train.setup_cfg(train.parse_args(run.command(place)[1:]))

    return lambda run: configuration(replace(run, seed=1))  # all seeds have the same


# ---------------------------------------------------------------------------------------------------- the checks


def fetch_weights(backbone: str):
    from trainers.core.model.openai_clip import fetch, model_urls

    if backbone not in model_urls():
        print(f"weights: {backbone} is no download")
        return
    print(f"weights: {backbone} in {fetch(backbone)[0]}", flush=True)


def checks(args, place: Place, datasets: list[str], backbone: str) -> list[tuple[list[str], str]]:
    """(command, what to do when it fails) of each check."""
    if place.bank:
        return []  # there are no images to check
    found = []
    if not args.skip_check:
        command = ["scripts/data.py", "check", *datasets, "--root", place.data]
        advice = (
            f"data are missing or differ (above). Get them with\n  python scripts/data.py prepare {' '.join(datasets)} "
            f"--root {place.data}\nor leave data sets out with --datasets, or go on with --skip-check"
        )
        found.append((command, advice))
    printed = [name for name in datasets if name in PAPER_DATASETS]
    if not args.skip_verify and printed:
        command = ["scripts/verify.py", "--root", place.data, "--backbone", backbone, *printed]
        advice = (
            "zero-shot figures differ from the published ones (above): training would not give the paper's either. "
            "Mend what it names, or go on with --skip-verify"
        )
        found.append((command, advice))
    return found


# ---------------------------------------------------------------------------------------------------- the whole


def main(argv=None) -> int:
    args = parse_args(sys.argv[1:] if argv is None else argv)
    place = Place.from_environment()
    place = replace(place, data="" if place.bank else seen_from_user(args.data))
    os.chdir(ROOT)
    tables = tables_of(args)
    rows = rows_of(tables, args.options)
    runs = with_sources([row.run for row in rows])
    datasets = sorted({run.dataset for run in runs})
    launcher = launcher_of("reproduce", runs, place, args)
    done = sum(run.done(place) for run in runs)
    for number, sweep in tables.items():
        print(f"Table {number}: {len(sweep.runs())} runs on {', '.join(sweep.datasets)}")
    print(f"{len(runs)} different runs, {done} of them done; results in {place.output}\n")
    if args.dry_run:
        ready = "SHIP_NO_ENVIRONMENT" not in os.environ
        backbone = configurations(place)(runs[0]).MODEL.BACKBONE.NAME if ready else "BACKBONE"
        print(f"# download the weights of {backbone}, where they are not there")
        for command, _ in checks(args, place, datasets, backbone):
            print(f"python {' '.join(command)}")
        print("# estimate the hours, from two short runs of CoOp")
    if look_only(launcher, args):
        return 0
    refuse_without_set_up()
    code = execute(args, place, runs, datasets, launcher)
    show(tables, rows, place)
    return code


def execute(args, place: Place, runs: list[Run], datasets: list[str], launcher) -> int:
    if not (place.bank or os.path.isdir(place.data)):
        raise UserError(f"{place.data} is no folder; DATA is the folder that holds the data sets")
    configure = configurations(place)
    backbone = configure(runs[0]).MODEL.BACKBONE.NAME
    fetch_weights(backbone)
    for command, what_to_do in checks(args, place, datasets, backbone):
        print(f"$ python {' '.join(command)}", flush=True)
        if subprocess.run([sys.executable, *command], cwd=ROOT).returncode:
            raise UserError(what_to_do)
    waiting = [run for run in runs if not run.done(place)]
    if waiting:
        rates = calibrate(waiting, configure, place, args.options)
        works = {run: work_of(run, configure(run)) for run in waiting}
        seconds = rates.total(works) / (launcher.jobs or 1)
        print(f"\nEstimate: {clock(seconds)} for {len(waiting)} runs (from {rates.said}).")
        print(
            f"It would end about {time.strftime('%A %H:%M', time.localtime(time.time() + seconds))}. "
            "While it runs, the same command with --status shows how far it is.\n",
            flush=True,
        )
        launcher.status.cost = lambda run: rates.seconds(works[run]) if run in works else 0.0
    return launcher.run()


def show(tables: dict[int, sweeps.Sweep], rows: list[Row], place: Place):
    """Each table beside the paper's, also in <output>/reproduced.txt."""
    texts = []
    for number, sweep in tables.items():
        average = datasets_of(number, sweep.source_dataset)
        texts.append(compare(paper_table("ship", number), rows, average, place))
    path = ROOT / place.output / "reproduced.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    print("\n" + "\n\n".join(texts) + f"\n\nalso in {path}", flush=True)


if __name__ == "__main__":
    say_errors(main)
