#!/usr/bin/env python3
"""Executes a list of runs: configs/sweeps/<LIST>.yaml, or a file of your own (its form: scripts/lib/lists.py).

    python scripts/launch.py table1 --jobs 2
    python scripts/launch.py my_runs.yaml --set seeds=1,2 cfg=vit_b16 OPTIM.MAX_EPOCH=20 --dry-run
    python scripts/launch.py table1 --per-gpu 2
    python scripts/launch.py table1 --slurm partition=gpu time=4:00:00 gpus_per_node=1

Sources come first, finished runs are skipped, and the same command goes on from where it stopped. A run that fails is
shown with the end of its log and does not stop the others; the exit status says whether one failed. A stale run is one
whose results are another run's; it is not made without --force. KEY VALUE behind -- are configuration options of all
runs, and name their own folder. Variables of the environment:

DATA=DIR     image root (empty: the shipped feature bank)     BANK=FILE   another feature bank
OUTPUT=DIR   folder of the results                            PYTHON=..., VENV=DIR   the Python to use
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import _path  # noqa: F401
from lib import lists, runs
from lib.faults import say_errors, sentence
from lib.runs import DONE, ENDED, FAILED, ROOT, STALE, STATES, WAITING, Run, State, state_of
from lib.slurm import Slurm
from lib.worker import Worker

from trainers.core.files import UserError, locked, read_results, summary

POLL = 0.1  # seconds between two looks at a run
TAIL = 20  # lines shown of a run that failed
BAD = (FAILED, STALE)


class Launcher:
    """Makes runs, `jobs` of them side by side, each in a worker that has one of `gpus`, if there are some. A source
    stands in front of what starts from it. `force` makes runs anew that are done or stale."""

    def __init__(self, found: list[Run], jobs: int = 1, gpus: list[str] | None = None, force: bool = False):
        self.runs, self.jobs, self.force = found, jobs, force
        self.states = {run: State(WAITING) if force else state_of(run) for run in found}
        self.workers = [Worker(self.environment(gpu)) for gpu in gpus or [""] * jobs]  # those that are free
        self.signals: list[int] = []  # the first one lets the runs save and end, a second one ends them at once

    def environment(self, gpu: str) -> dict[str, str]:
        """The variables that a worker and its runs have."""
        threads = {"OMP_NUM_THREADS": "1"} if self.jobs > 1 else {}
        device = {"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}
        output = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
        return {**threads, **os.environ, **device, **output}

    def run(self) -> int:
        """-> the exit status: 0 if every run is done, 1 if one failed or is stale, 128 + the signal that interrupted
        us."""
        self.obey_signals()
        runs = self.unfinished()
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                list(pool.map(self.make, [run for run in runs if not run.source]))
                list(pool.map(self.make, [run for run in runs if run.source]))
            except BaseException:  # as where our output has no reader any more
                self.signals.append(signal.SIGTERM)
                raise
        for worker in self.workers:
            worker.close()
        return self.conclude()

    def obey_signals(self):
        """One that is ignored (nohup) stays so."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, frame: self.signals.append(number))

    def unfinished(self) -> list[Run]:
        """The runs that are to be made. Of the others it says that they are done, or why they are stale."""
        for run, state in self.states.items():
            if state.name in (DONE, STALE):
                self.report(run, state, "done already")
        return [run for run, state in self.states.items() if state.name not in (DONE, STALE)]

    def make(self, run: Run):
        """In a thread of the pool: makes the run, unless its source is not done."""
        if self.signals:
            return
        begun = time.monotonic()
        try:
            if run.source and (source := self.states.get(run.source) or state_of(run.source)).name != DONE:
                raise UserError(f"its source is {source.name}: {run.source.folder}")
            with locked(run.lock, f"{run.folder}: another launcher is at it; waiting", lambda: bool(self.signals)):
                made = run.results.exists() and not self.force  # by the other launcher
                state = state_of(run) if made else self.execute(run)
        except (UserError, OSError) as error:
            if self.signals:  # it need not be made any more
                return
            state = State(FAILED, sentence(error))
        self.report(run, state, f"{time.monotonic() - begun:.0f} s")

    def execute(self, run: Run) -> State:
        """Runs train.py until it ends, or until a signal comes. -> the run's state"""
        self.tell(run, "begins")
        run.log.write_bytes(b"")
        worker = self.workers.pop(0)
        with open(run.log, encoding="utf-8", errors="replace") as printed:
            try:
                worker.start(run.command(self.force), run.log)
                while worker.poll() is None and not self.signals:
                    self.echo(printed)
                    time.sleep(POLL)
            finally:
                code = self.end(worker)
                self.workers.append(worker)
            self.echo(printed)
        if code == 0 and run.results.exists():
            return State(DONE, summary(read_results(run.results)))
        if not self.signals:
            reason = "" if code else f"it ended without {run.results.name}\n"
            with open(run.log, "ab") as log:
                log.write(f"{reason}{ENDED}{code or 1}\n".encode())
        return runs.state_of_log(run)

    def echo(self, printed):
        """Passes on what a run has printed, where it is the only one."""
        if self.jobs == 1:
            print(printed.read(), end="", flush=True)

    def end(self, worker: Worker) -> int:
        """Lets a run that goes on still save and end; at a second signal it is killed. -> its exit code, as a shell has
        it"""
        if worker.poll() is None:
            worker.end(signal.SIGTERM)
        while worker.poll() is None:
            if len(self.signals) > 1:
                worker.end(signal.SIGKILL)
            time.sleep(POLL)
        return worker.code if worker.code >= 0 else 128 - worker.code

    # ---- what is told

    def tell(self, run: Run, text: str, file=None):
        print(f"[{self.runs.index(run) + 1}/{len(self.runs)}] {run.folder}: {text}", file=file, flush=True)

    def report(self, run: Run, state: State, note: str = ""):
        self.states[run] = state
        if state.name in BAD:
            tail = runs.log_tail(run, TAIL) if self.jobs > 1 and state.name == FAILED else []
            self.tell(run, "\n    ".join([f"{state.name.upper()}: {state.line}", *tail]), sys.stderr)
        else:
            self.tell(run, f"{state.line}  ({note})")

    def counts(self) -> str:
        """12 done, 1 failed"""
        names = [state.name for state in self.states.values()]
        return ", ".join(f"{names.count(name)} {name}" for name in STATES if name in names)

    def conclude(self) -> int:
        print(f"\n{self.counts()}", flush=True)
        bad = [(run, state) for run, state in self.states.items() if state.name in BAD]
        for run, state in bad:
            print(f"{state.name}: {run.folder}: {state.line}\n    {run.log}", file=sys.stderr)
        if self.signals:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            return 128 + self.signals[0]
        return 1 if bad else 0

    def show_status(self):
        """A line for each run, as its files have it."""
        for run, state in self.states.items():
            print(f"{state.name:<8} {run.folder}  {state.line}".rstrip())
        print(self.counts())

    def show_commands(self):
        """What would run, and what is done or stale."""
        for run, state in self.states.items():
            command = shlex.join(["python", *run.command(self.force)])
            print(f"# {state.name}: {run.folder}" if state.name in (DONE, STALE) else command)


def visible_gpus() -> list[str]:
    """Those of CUDA_VISIBLE_DEVICES, else all that nvidia-smi lists. Raises UserError where there is none."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        listed = os.popen("nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null").read()
    if found := lists.words_of(listed):
        return found
    raise UserError("--per-gpu: no GPU is visible here (CUDA_VISIBLE_DEVICES, nvidia-smi); --jobs N needs none")


# ---- the command line


def pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, found '{text}'")
    return key, value


def parse(argv: list[str]) -> argparse.Namespace:
    """The words and flags; `options` are the (KEY, VALUE) behind --. Raises UserError."""
    cut = argv.index("--") if "--" in argv else len(argv)
    is_named = argv and not argv[0].startswith("-")
    usage, text = lists.describe(argv[0]) if is_named else ("python scripts/launch.py LIST", "")
    known = {"lists": lists.names(), "data sets": runs.datasets(), "trainers": runs.trainers()}
    parser = argparse.ArgumentParser(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.usage, parser.description = f"{usage} [--jobs N] [--dry-run] [...] [-- KEY VALUE ...]", text
    parser.epilog = "\n".join([__doc__, *(f"{what}: {' '.join(names)}" for what, names in known.items())])
    add, given = parser.add_argument, os.environ.get
    add("list", help=argparse.SUPPRESS)
    add("words", nargs="*", help=argparse.SUPPRESS)
    add("--datasets", nargs="+", metavar="WORD", help="in the place of the list's")
    add("--seeds", nargs="+", metavar="WORD", help="in the place of the list's")
    add("--set", nargs="+", action="extend", default=[], type=pair, metavar="KEY=VALUE", help="a field, or an option")
    add("--output", default=given("OUTPUT"), metavar="DIR", help="folder of the results")
    add("--jobs", type=int, default=given("JOBS") or 0, metavar="N", help="runs side by side (default: JOBS, else 1)")
    add("--per-gpu", type=int, default=0, metavar="K", help="K runs side by side on each GPU")
    add("--slurm", nargs="*", type=pair, metavar="KEY=VALUE", help="Slurm jobs, with these options of sbatch")
    add("--force", action="store_true", default=bool(given("FORCE")), help="make finished runs anew")
    add("--status", action="store_true", help="show what is done, running, failed, waiting; run nothing")
    add("--dry-run", action="store_true", help="print the commands; run nothing")
    add("--only", action="append", metavar="FOLDER", help="the run of this folder alone, as a Slurm job has it")
    args = parser.parse_intermixed_args(argv[:cut])
    options = argv[cut + 1 :]
    if len(options) % 2:
        raise UserError(f"after -- come pairs KEY VALUE; found {len(options)} words: {' '.join(options)}")
    args.options = list(zip(options[::2], options[1::2]))
    return args


def find_runs(args: argparse.Namespace, fields: dict) -> list[Run]:
    """The runs of a list on which the changes of the command line are made, sources in front."""
    for key, value in [*args.set, ("datasets", args.datasets), ("seeds", args.seeds)]:
        if key.isupper() or "." in key:
            args.options.append((key, value))
        else:
            lists.change(fields, key, value)
    places = {"output": args.output, "data": os.environ.get("DATA"), "bank": os.environ.get("BANK")}
    places = {name: os.path.abspath(place) for name, place in places.items() if place}
    listed = lists.runs_of(fields, tuple(args.options), **places)
    found = list(dict.fromkeys([run.source for run in listed if run.source] + listed))
    for run in found:
        runs.check(run)
    return [run for run in found if not args.only or run.folder in args.only]


def main() -> int:
    os.chdir(os.environ.get("SHIP_CALLED_FROM", "."))  # where the user stands: the bash scripts have left that folder
    args = parse(sys.argv[1:])
    fields = lists.read_list(args.list, args.words)
    found = find_runs(args, fields)
    os.chdir(ROOT)
    on_slurm = args.slurm is not None and not args.only  # with --only, we are such a job
    gpus = visible_gpus() * args.per_gpu if args.per_gpu and not on_slurm else []
    jobs = 1 if args.only else args.jobs or int(fields.get("jobs", 1))
    # A job that goes on has begun to make its runs anew already.
    force = args.force and not args.status and not int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    launcher = Launcher(found, len(gpus) or max(1, jobs), gpus, force)
    if args.status or args.dry_run:
        launcher.show_status() if args.status else launcher.show_commands()
        return 0
    if os.environ.get("SHIP_NO_ENVIRONMENT"):  # any Python may answer questions; to run something, packages are needed
        raise UserError(os.environ["SHIP_NO_ENVIRONMENT"])
    runner = Slurm(launcher, sys.argv[1:], dict(args.slurm), args.per_gpu) if on_slurm else launcher
    code = runner.run()
    return code if args.only or launcher.signals else max(code, report(fields, launcher))


def report(fields: dict, launcher: Launcher) -> int:
    """Prints the table that the list asks for, and its closing words. A paper's table, and one that names the folder of
    a data set, has all that there is; any other has these runs alone. -> exit status"""
    done = [run for run, state in launcher.states.items() if state.name == DONE and run.task == fields["task"]]
    if not fields.get("report") or not done:
        return 0
    places = {"output": done[0].output, "dataset": done[0].dataset, "seed": done[0].seed}
    words = [word.format(**places) for word in fields["report"]]
    folders = dict.fromkeys(f"{run.output}/{run.task}/{run.dataset}" for run in done)
    shown = folders if {"--table", *folders} & {*words} else [str(run.results) for run in done]
    words = [word for word in words if word not in folders]
    code = subprocess.run([sys.executable, "scripts/report.py", *shown, *words]).returncode
    print(fields.get("closing", "").format(**places), end="")
    return code


if __name__ == "__main__":
    say_errors(main)
