"""Executes a list of runs as local processes, some side by side.

What is done is skipped, and a source comes before what starts from it. Nothing is tried again: a run that fails is
shown with the end of its log, and fails the list. The same command goes on from where it stopped.
"""

import contextlib
import shlex
import signal
import sys
import time
from collections.abc import Callable

from .child import Busy, Child, end, lock, release
from .run import RESULTS, ROOT, Place, Run, UserError, summary
from .status import DONE, FAILED, RUNNING, WAITING, Entry, Status, clock

POLL = 0.1  # seconds between two looks at the processes
EVERY = 60.0  # seconds between two lines of progress, with several runs side by side
STOPS = ("SIGINT", "SIGTERM", "SIGHUP")


class Launcher:
    """`jobs` runs side by side. `threads`: OMP_NUM_THREADS of each, unless the user has set it. `echo`: what a run
    prints is shown as it comes (by default where there is one job). `name`: the table is kept in
    <output>/status_<name>.txt. `cost`: see Status."""

    def __init__(
        self,
        runs: list[Run],
        place: Place,
        jobs: int = 1,
        threads: int | None = None,
        name: str = "",
        echo: bool | None = None,
        cost: Callable[[Run], float] = lambda run: 1.0,
    ):
        self.place, self.jobs, self.name = place, jobs, name
        self.echo = jobs == 1 if echo is None else echo
        self.threads = 1 if jobs > 1 and not threads else threads
        self.status = Status(with_sources(runs), cost)
        self.children: list[Child] = []
        self.stopped = 0  # the signal that interrupted us
        self.began = self.told = time.monotonic()

    def commands(self) -> list[str]:
        """For --dry-run: what would run, and what is done."""
        runs = [entry.run for entry in self.status.entries]
        return [
            f"# done: {one.folder(self.place)}"
            if one.done(self.place)
            else shlex.join(["python", *one.command(self.place)])
            for one in runs
        ]

    def run(self) -> int:
        """Exit code: 0 if every run is done; else the first failure's, or 128 + the signal that interrupted us."""
        with self._signals():
            try:
                while not self.stopped and (self._start() or self.children):
                    self._collect()
                    self._progress()
                    time.sleep(POLL)
            finally:
                self._end_children()
        return self._conclusion()

    # ------------------------------------------------------------------------------------------------ the loop

    def _start(self) -> bool:
        """Starts what can start. Whether something waits still."""
        for entry in self.status.of(WAITING):
            source = self.status.by_run.get(entry.run.source)
            if self.stopped:
                break
            if entry.run.done(self.place):
                self._finished(
                    entry, f"done already: {entry.run.folder(self.place)}/{RESULTS} (delete it to run again)"
                )
            elif source and source.state == FAILED:
                self._failed(entry, source.code, f"its source failed: {source.run.title}")
            elif len(self.children) < self.jobs and (not source or source.state == DONE):
                self._launch(entry)
        return bool(self.status.of(WAITING))

    def _launch(self, entry: Entry):
        folder = ROOT / entry.run.folder(self.place)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held = lock(folder)
        except Busy:
            if not entry.line:
                entry.line = "another process is at it; waiting"
                self._say(entry, entry.line)
            return
        try:
            if entry.run.done(self.place):  # since we looked: another launcher was faster
                return
            left = self.status.left(self.jobs)
            about = f"  ({self.status.counts()}; about {clock(left)} left)" if left else ""
            self._say(entry, f"-> {entry.run.folder(self.place)}{about}", before="\n=== " if self.echo else "")
            self.children.append(Child(entry.run, self.place, self.threads, held, self.echo))
            entry.state, entry.line = RUNNING, ""
        finally:
            release(held)  # the process has its own hold: the folder is taken until it ends, whatever becomes of us
        self._keep_table()

    def _collect(self):
        for child in list(self.children):
            entry = self.status.by_run[child.run]
            entry.seconds, entry.line = child.seconds, child.last
            code = child.code()
            if code is None:
                continue
            self.children.remove(child)
            if code == 0 and entry.run.done(self.place):
                self._finished(entry)
            else:
                reason = f"exit code {code}" if code else f"it ended without {RESULTS}"
                self._failed(entry, code or 1, reason, child.tail)

    def _finished(self, entry: Entry, text: str = ""):
        try:
            entry.line = summary(entry.run.results(self.place))
        except UserError as error:
            self._failed(entry, 2, str(error))
            return
        entry.state = DONE
        self._say(
            entry,
            f"{entry.line}  ({text or clock(entry.seconds)})",
            before="=== " if self.echo and not text else "",
        )
        self._keep_table()

    def _failed(self, entry: Entry, code: int, reason: str, tail=()):
        tail = list(tail)
        entry.state, entry.code, entry.line = FAILED, code, "; ".join([reason, *tail[-1:]])
        sys.stdout.flush()
        print(f"[{entry.number}/{len(self.status.entries)}] FAILED: {entry.run.title} ({reason})", file=sys.stderr)
        for line in () if self.echo else tail:
            print(f"    {line}", file=sys.stderr)
        sys.stderr.flush()
        folder = ROOT / entry.run.folder(self.place)
        with contextlib.suppress(OSError):  # made for the lock; where train.py refused at once, nothing is in it
            folder.rmdir()
            folder.parent.rmdir()
        self._keep_table()

    @contextlib.contextmanager
    def _signals(self):
        """An interrupt ends the children and keeps the next run from starting; one that is ignored (nohup) stays so."""

        def stop(number, frame):
            self.stopped = self.stopped or number

        numbers = [getattr(signal, name) for name in STOPS if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in numbers}
        caught = [number for number in numbers if before[number] is not signal.SIG_IGN]
        for number in caught:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number in caught:
                signal.signal(number, before[number])

    def _end_children(self):
        end(self.children)
        for child in self.children:
            entry = self.status.by_run[child.run]
            entry.state, entry.line = WAITING, "interrupted; goes on from its last checkpoint"
        self.children = []
        self._keep_table()

    # ------------------------------------------------------------------------------------------------ what is told

    def _say(self, entry: Entry, text: str, before: str = ""):
        print(f"{before}[{entry.number}/{len(self.status.entries)}] {entry.run.title}: {text}", flush=True)

    def _progress(self):
        now, left = time.monotonic(), self.status.left(self.jobs)
        if self.echo or now - self.told < EVERY:
            return
        self.told = now
        about = f", about {clock(left)} left" if left else ""
        print(f"{self.status.counts()} after {clock(now - self.began)}{about}")
        for entry in self.status.of(RUNNING):
            print(f"    {entry.run.title}: {entry.line}", flush=True)
        self._keep_table()

    def _keep_table(self):
        if self.name:
            self.status.write(ROOT / self.place.output / f"status_{self.name}.txt")

    def _conclusion(self) -> int:
        failed, several = self.status.of(FAILED), len(self.status.entries) > 1
        if several:
            print(f"\n{self.status.counts()} ({clock(time.monotonic() - self.began)})", flush=True)
        for entry in failed if several else ():
            print(
                f"failed: {entry.run.title}: {entry.line}\n    {entry.run.folder(self.place)}/log.txt", file=sys.stderr
            )
        if self.stopped:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            return 128 + self.stopped
        return failed[0].code if failed else 0


def with_sources(runs: list[Run]) -> list[Run]:
    """The runs, each once, behind the sources that they start from."""
    return list(dict.fromkeys([*(run.source for run in runs if run.source), *runs]))


def jobs_of(text: str | int) -> int:
    """Raises UserError unless it is a whole number of at least 1."""
    if not str(text).isdigit() or int(text) < 1:
        raise UserError(f"JOBS is the number of runs side by side, 1 or more; found '{text}'")
    return int(text)
