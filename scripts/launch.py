#!/usr/bin/env python3
"""Makes a list of runs: configs/sweeps/<LIST>.yaml, or a file of your own (its form: scripts/lib/lists.py).

    python scripts/launch.py table1 --jobs 2
    python scripts/launch.py my_runs.yaml --seeds 1 2 --dry-run -- OPTIM.MAX_EPOCH 20
    python scripts/launch.py table1 --per-gpu 2
    python scripts/launch.py table1 --slurm partition=gpu time=4:00:00 gpus_per_node=1

Sources come first, finished runs are skipped, and the same command goes on from where it stopped. A run that fails is
shown with the end of its log and does not stop the others; the exit status says whether one failed. A stale run is one
whose results are another run's; it is not made without --force. KEY VALUE behind -- are configuration options of all
runs, and name their own folder. Variables of the environment:

DATA=DIR     image root (empty: the shipped feature bank)     BANK=FILE   another feature bank
OUTPUT=DIR   folder of the results                            JOBS=N      runs side by side
PYTHON=..., VENV=DIR   the Python to use
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys

import _path  # noqa: F401
from lib import lists
from lib.faults import say_errors
from lib.launcher import Launcher
from lib.runs import DONE, ROOT, STALE, check
from lib.slurm import Slurm

from trainers.core.files import UserError


def key_value(text: str) -> list[str]:
    key, value = text.split("=", 1)
    return [key, value]


def parse(argv: list[str]) -> argparse.Namespace:
    """The words and flags; `options` are the (KEY, VALUE) behind --. Raises UserError."""
    cut = argv.index("--") if "--" in argv else len(argv)
    named = lists.load(argv[0]) if argv and not argv[0].startswith("-") else {}
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.usage = f"{argv[0] if named else 'LIST'} {named.get('arguments', '')} [flags] [-- KEY VALUE ...]"
    parser.description = named.get("help")
    parser.epilog = f"{__doc__}\nlists: {' '.join(lists.names())}"
    add = parser.add_argument
    add("list")
    add("words", nargs="*", help="the arguments of the list")
    add("--datasets", nargs="+", help="in the place of the list's")
    add("--seeds", nargs="+", help="in the place of the list's")
    add("--output", default=os.environ.get("OUTPUT"), metavar="DIR", help="folder of the results")
    add("--jobs", type=int, metavar="N", help="runs side by side")
    place = parser.add_mutually_exclusive_group().add_argument
    place("--per-gpu", type=int, metavar="K", help="K runs side by side on each GPU")
    place("--slurm", nargs="*", type=key_value, metavar="KEY=VALUE", help="Slurm jobs, with these options of sbatch")
    add("--force", action="store_true", help="make finished runs anew")
    add("--status", action="store_true", help="show what is done, stale, failed, begun, waiting; run nothing")
    add("--dry-run", action="store_true", help="print the commands; run nothing")
    args = parser.parse_intermixed_args(argv[:cut])
    options = argv[cut + 1 :]
    if len(options) % 2:
        raise UserError(f"after -- come pairs KEY VALUE; found {len(options)} words: {' '.join(options)}")
    args.options = tuple(zip(options[::2], options[1::2]))
    return args


def main() -> int:
    os.chdir(os.environ.get("SHIP_CALLED_FROM", "."))  # where the user stands: the bash scripts have left that folder
    args = parse(sys.argv[1:])
    given = {field: getattr(args, field) for field in ("datasets", "seeds") if getattr(args, field)}
    fields = {**lists.read_list(args.list, args.words), **given}
    places = {"output": args.output, "data": os.environ.get("DATA"), "bank": os.environ.get("BANK")}
    places = {name: os.path.abspath(place) for name, place in places.items() if place}
    os.chdir(ROOT)
    runs = lists.runs_of(fields, args.options, **places)
    runs = list(dict.fromkeys([run.source for run in runs if run.source] + runs))
    for run in runs:
        check(run)
    jobs = max(1, args.jobs or int(os.environ.get("JOBS") or fields.get("jobs", 1)))
    gpus = visible_gpus() * args.per_gpu if args.per_gpu else [""] * jobs
    if args.slurm is None:
        launcher = Launcher(runs, gpus, args.force)
    else:
        launcher = Slurm(runs, gpus, args.force, dict(args.slurm))
    if args.status or args.dry_run:
        show(launcher, args.status)
        return 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
            signal.signal(number, interrupt)
    return max(launcher.run(), report(fields, launcher))


def interrupt(number, frame):
    """A signal ends the launcher, which lets its runs save."""
    print("interrupted; the same command goes on from here", file=sys.stderr)
    sys.exit(128 + number)


def visible_gpus() -> list[str]:
    """Those of CUDA_VISIBLE_DEVICES, else all that nvidia-smi lists. Raises UserError where there is none."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        listed = os.popen("nvidia-smi --query-gpu=index --format=csv,noheader").read()
    if not listed:
        raise UserError("--per-gpu: no GPU is visible here (CUDA_VISIBLE_DEVICES, nvidia-smi); --jobs N needs none")
    return listed.replace(",", " ").split()


def show(launcher: Launcher, status: bool):
    """The state of each run, or the command of each that would be made."""
    for run, state in launcher.states.items():
        if status:
            print(f"{state.name:<8} {run.folder}  {state.line}".rstrip())
        elif state.name not in (DONE, STALE):
            print(shlex.join(["python", *run.command(launcher.force)]))
    print(f"# {launcher.counts()}")


def report(fields: dict, launcher: Launcher) -> int:
    """Prints the table that the list asks for, of the folders that it names, else of these runs; and its closing words.
    -> exit status"""
    done = [run for run, state in launcher.states.items() if state.name == DONE and run.task == fields["task"]]
    if not fields.get("report") or not done:
        return 0
    words = [word.format(**vars(done[0])) for word in fields["report"]]
    if not any(os.path.isdir(word) for word in words):
        words = [*(str(run.results) for run in done), *words]
    code = subprocess.run([sys.executable, "scripts/report.py", *words]).returncode
    print(fields.get("closing", "").format(**vars(done[0])), end="")
    return code


if __name__ == "__main__":
    say_errors(main)
