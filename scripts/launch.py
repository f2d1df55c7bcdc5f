#!/usr/bin/env python3
"""Executes a list of runs: configs/sweeps/<LIST>.yaml, or a file of your own (its form: scripts/lib/lists.py).

    python scripts/launch.py table1 --jobs 2
    python scripts/launch.py my_runs.yaml --set seeds=1,2 cfg=vit_b16 OPTIM.MAX_EPOCH=20 --dry-run
    python scripts/launch.py table1 --per-gpu 2
    python scripts/launch.py table1 --slurm partition=gpu time=4:00:00 gpus_per_node=1

Sources come first, finished runs are skipped, and the same command goes on from where it stopped. A run that fails is
shown with the end of its log and does not stop the others; the exit status says whether one failed.
"""

import argparse
import ctypes
import math
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import replace

import _path  # noqa: F401
from lib import lists, runs
from lib.faults import say_errors, sentence
from lib.runs import DONE, ENDED, FAILED, ROOT, STALE, STATES, WAITING, Paths, Run, State, state_of

from trainers.core.files import UserError, read_results, summary

GRACE = 30.0  # seconds that a run has to save and end after SIGTERM
POLL = 0.1  # seconds between two looks at a process
TAIL = 20  # lines shown of a run that failed
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # before any fork: nothing may be loaded behind it


# ---- executing runs


class Launcher:
    """Runs, `jobs` of them side by side as processes of this machine, each on one of `gpus`, if there are some. A
    source stands in front of what starts from it. `force` makes runs anew that are done or stale."""

    def __init__(self, runs: list[Run], jobs: int = 1, gpus: Sequence[str] = (), force: bool = False):
        self.runs = runs
        self.jobs, self.force = jobs, force
        self.states = {run: State(WAITING) for run in self.runs}
        self.futures: dict[Run, Future] = {}
        self.free_gpus: queue.SimpleQueue = queue.SimpleQueue()
        for number in range(jobs if gpus else 0):
            self.free_gpus.put(gpus[number % len(gpus)])
        self.signal, self.deadline = 0, math.inf  # a process that still runs at that time is killed

    def run(self) -> int:
        """-> the exit status: 0 if every run is done; else the first code of one that failed or is stale; 128 + the
        signal that interrupted us."""
        if not self.force:  # here, as it may resolve configurations, which is not for several threads
            self.states = {run: state_of(run) for run in self.runs}
        with self.handling_signals(), ThreadPoolExecutor(self.jobs) as pool:
            for run in self.runs:
                self.futures[run] = pool.submit(self.make, run)
            try:
                for future in as_completed(self.futures.values()):
                    future.result()
            except BaseException:  # as where our output has no reader any more
                self.stop(signal.SIGTERM)
                raise
        return self.conclude()

    @contextmanager
    def handling_signals(self):
        """Within it, a signal lets the runs save and end; a second one ends them at once. An ignored one (nohup) stays
        so."""
        before = {number: signal.getsignal(number) for number in STOPS}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self.stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self, number: int, frame=None):
        self.deadline = time.monotonic() + (0 if self.signal else GRACE)
        self.signal = self.signal or number

    def make(self, run: Run):
        """In a thread of the pool: makes the run, unless it is done, or its source is not."""
        if run.source in self.futures:
            self.futures[run.source].result()
        if self.signal:
            return
        if self.states[run].name in (DONE, STALE):
            self.report(run, self.states[run], "done already")
            return
        if run.source and (source := self.states.get(run.source) or state_of(run.source)).name != DONE:
            self.report(run, State(FAILED, f"its source is {source.name}: {run.source.title}", source.code or 2))
            return
        try:
            lock = runs.lock_of(run)
            if not runs.acquired(lock):
                self.tell(run, "another launcher is at it; waiting")
            while not (self.signal or runs.acquired(lock)):
                pass
            begun = time.monotonic()
            if not self.signal:  # while we waited, another launcher may have made it
                made = run.results.exists() and not self.force
                self.report(run, state_of(run) if made else self.execute(run), f"{time.monotonic() - begun:.0f} s")
            runs.release(lock)
        except OSError as error:
            self.report(run, State(FAILED, sentence(error), 2))

    def execute(self, run: Run) -> State:
        """Runs train.py until it ends, or until a signal comes. -> the run's state"""
        self.tell(run, f"-> {run.folder}")
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
        if self.jobs > 1:
            environment.setdefault("OMP_NUM_THREADS", "1")
        gpu = None if self.free_gpus.empty() else self.free_gpus.get()
        if gpu:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        with open(run.log, "wb") as log, open(run.log, encoding="utf-8", errors="replace") as printed:
            process = subprocess.Popen(
                [sys.executable, *run.command(self.force)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the launcher alone, which ends the runs
                # It gets SIGTERM when the launcher ends, also where that is killed.
                preexec_fn=LIBC and (lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)),
            )
            try:
                while process.poll() is None and not self.signal:
                    self.echo(printed)
                    time.sleep(POLL)
            finally:
                self.end(process)
                if gpu:
                    self.free_gpus.put(gpu)
            self.echo(printed)
            code = process.returncode if process.returncode >= 0 else 128 - process.returncode
            if code == 0 and run.results.exists():
                return State(DONE, summary(read_results(run.results)))
            if self.signal:
                return State(WAITING, "interrupted; goes on from its last checkpoint")
            reason = f"exit code {code}" if code else f"it ended without {run.results.name}"
            reason = "; ".join([reason, *runs.log_tail(run, 1)])
            log.write(f"{ENDED}{code or 1}\n".encode())
            return State(FAILED, reason, code or 1)

    def echo(self, printed):
        """Passes on what a run has printed, where it is the only one."""
        if self.jobs == 1:
            print(printed.read(), end="", flush=True)

    def end(self, process: subprocess.Popen):
        """Lets a process that still runs save and end; at the deadline it is killed, and so are workers it left
        behind."""
        if process.poll() is None:
            process.terminate()  # the process alone: without its workers it could not finish its step
        while process.poll() is None and time.monotonic() < self.deadline:
            time.sleep(POLL)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    # ---- what is told

    def tell(self, run: Run, text: str, file=None):
        print(f"[{self.runs.index(run) + 1}/{len(self.runs)}] {run.title}: {text}", file=file, flush=True)

    def report(self, run: Run, state: State, note: str = ""):
        self.states[run] = state
        if state.name in (FAILED, STALE):
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
        bad = {run: state for run, state in self.states.items() if state.name in (FAILED, STALE)}
        for run, state in bad.items():
            print(f"{state.name}: {run.title}: {state.line}\n    {run.log}", file=sys.stderr)
        if self.signal:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            return 128 + self.signal
        return next(iter(bad.values())).code if bad else 0

    def look(self):
        """A line for each run, as its files have it."""
        self.states = {run: state_of(run) for run in self.runs}
        width = max(len(run.title) for run in self.runs)
        for run, state in self.states.items():
            print(f"{state.name:<8} {run.title:<{width}}  {state.line}".rstrip())
        print(self.counts())

    def commands(self):
        """What would run, and what is done or stale."""
        for run in self.runs:
            state = State(WAITING) if self.force else state_of(run)
            command = shlex.join(["python", *run.command(self.force)])
            print(f"# {state.name}: {run.folder}" if state.name in (DONE, STALE) else command)


def visible_gpus() -> list[str]:
    """Those of CUDA_VISIBLE_DEVICES, else all that nvidia-smi lists. Raises UserError where there is none."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        with suppress(OSError):
            command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
            listed = subprocess.run(command, capture_output=True, text=True).stdout
    found = re.split(r"[,\s]+", (listed or "").strip())
    if not found[0]:
        raise UserError("--per-gpu: no GPU is visible here (CUDA_VISIBLE_DEVICES, nvidia-smi); --jobs N needs none")
    return found


# ---- the command line


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(f"{message}; --help says what there is, options of the configuration come after --")


ENVIRONMENT = """\
KEY VALUE are configuration options of all runs, and name their own folder.
DATA=DIR     image root (empty: the shipped feature bank)     BANK=FILE   another feature bank
OUTPUT=DIR   folder of the results                            PYTHON=..., VENV=DIR   the Python to use
A stale run is one whose results are another run's; it is not made without --force."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The words and flags; `options` are the (KEY, VALUE) behind --. Raises UserError."""
    cut = argv.index("--") if "--" in argv else len(argv)
    usage, text = "python scripts/launch.py LIST", __doc__
    if argv and not argv[0].startswith("-"):
        usage, text = lists.describe(argv[0])
    names = {"lists": lists.names(), "data sets": runs.datasets(), "trainers": runs.trainers()}
    known = "\n".join(f"{what}: {' '.join(found)}" for what, found in names.items())
    parser = Parser(
        usage=f"{usage} [--jobs N] [--dry-run] [...] [-- KEY VALUE ...]",
        description=text,
        epilog=f"{ENVIRONMENT}\n{known}",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("list", help=argparse.SUPPRESS)
    add("words", nargs="*", help=argparse.SUPPRESS)
    for field in ("datasets", "seeds"):
        add(f"--{field}", nargs="+", default=[], metavar="WORD", help="in the place of the list's")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="a field of the list, or an option")
    add("--output", default="", metavar="DIR", help="folder of the results")
    add("--jobs", default=os.environ.get("JOBS"), metavar="N", help="runs side by side (default: JOBS, else 1)")
    add("--per-gpu", type=int, default=0, metavar="K", help="K runs side by side on each GPU")
    add("--slurm", nargs="*", metavar="KEY=VALUE", help="Slurm jobs, with these options of sbatch")
    add("--force", action="store_true", default=bool(os.environ.get("FORCE")), help="make finished runs anew")
    add("--status", action="store_true", help="show what is done, running, failed, waiting; run nothing")
    add("--dry-run", action="store_true", help="print the commands; run nothing")
    add("--only", nargs="+", default=[], metavar="FOLDER", help="the runs of these folders alone")
    args = parser.parse_intermixed_args(argv[:cut])
    options = argv[cut + 1 :]
    if len(options) % 2:
        raise UserError(f"after -- come pairs KEY VALUE; found {len(options)} words: {' '.join(options)}")
    args.options = list(zip(options[::2], options[1::2]))
    return args


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = parse(argv)
    fields, options = lists.read_list(args.list, args.words), args.options
    flags = [(field, " ".join(vars(args)[field])) for field in ("datasets", "seeds")]
    for key, value in lists.pairs("--set", args.set) + flags:
        if key.isupper() or "." in key:
            options.append((key, value))
        else:
            lists.change(fields, key, value)
    paths = Paths.from_environment()
    paths = replace(paths, output=lists.seen_from_user(args.output)) if args.output else paths
    os.chdir(ROOT)
    found = lists.runs_of(fields, tuple(options), paths)
    found = list(dict.fromkeys([*(run.source for run in found if run.source), *found]))
    for run in found:
        runs.check(run)
    found = [run for run in found if not args.only or run.folder in args.only]
    if not found:
        raise UserError(f"--only: no run of this list has the folder {args.only[0]}")
    on_slurm = args.slurm is not None and not args.only  # with --only, we are such a job
    gpus = visible_gpus() if args.per_gpu and not on_slurm else []
    asked = "1" if args.only else args.jobs or fields.get("jobs", "1")
    jobs = len(gpus) * args.per_gpu or max(1, *lists.numbers("--jobs", asked))
    # A job that goes on has begun to make its runs anew already.
    launcher = Launcher(found, jobs, gpus, args.force and not int(os.environ.get("SLURM_RESTART_COUNT") or 0))
    if args.dry_run or args.status:
        launcher.commands() if args.dry_run else launcher.look()
        return 0
    if os.environ.get("SHIP_NO_ENVIRONMENT"):  # any Python may answer questions; to run something, packages are needed
        raise UserError(os.environ["SHIP_NO_ENVIRONMENT"])
    if on_slurm:
        from lib.slurm import Slurm

        command = [sys.executable, str(ROOT / "scripts/launch.py"), *argv]
        code = Slurm(launcher, command, dict(lists.pairs("--slurm", args.slurm)), args.per_gpu).run()
    else:
        code = launcher.run()
    return code if args.only or launcher.signal else max(code, report(fields, launcher))


def report(fields: dict, launcher: Launcher) -> int:
    """Prints the table that the list asks for: one of a paper's has all that there is on its data sets, any other has
    these runs alone. -> exit status"""
    done = [run for run in launcher.runs if launcher.states[run].name == DONE and run.task == fields["task"]]
    if not fields.get("report") or not done:
        return 0
    output = done[0].paths.output
    words = [word.format(output=output) for word in fields["report"]]
    folders = dict.fromkeys(f"{output}/{run.task}/{run.dataset}" for run in done)
    places = folders if "--table" in words else [str(run.results) for run in done]
    sys.stdout.flush()
    return subprocess.run([sys.executable, "scripts/report.py", *places, *words], cwd=ROOT).returncode


if __name__ == "__main__":
    say_errors(main)
