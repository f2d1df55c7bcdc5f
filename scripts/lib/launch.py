"""Executes a list of runs as local processes, some side by side.

What is done is skipped, and a source comes before what starts from it. A run that fails is not tried again: it is
shown with the end of its log, and fails the list. One that was killed (as by the kernel, when memory runs out) is
started once more, as it goes on from its checkpoint. The same command goes on from where it stopped.
"""

import contextlib
import os
import subprocess
import time

from .child import Busy, Child, Log, end, last_lines
from .done import judge
from .faults import sentence
from .interrupts import Interrupts
from .run import RESULTS, Place, Run, UserError
from .status import DONE, FAILED, RUNNING, STALE, WAITING, Entry, Status, clock, command_of

POLL = 0.1  # seconds between two looks at the processes
EVERY = 60.0  # seconds between two lines of progress, with several runs side by side
TAIL = 20  # lines shown of a run that failed
KILLED = 128 + 9


class Launcher:
    """`jobs` runs side by side. `threads`: OMP_NUM_THREADS of each, unless the user has set it. `echo`: what a run
    prints is shown as it comes (by default where there is one job). `gpus`: each run gets the least used of them.
    `force`: runs that are done, or stale, are made anew."""

    def __init__(self, runs: list[Run], place: Place, jobs=1, threads=None, echo=None, gpus=(), force=False):
        self.place, self.jobs, self.gpus, self.force = place, jobs, gpus, force
        self.echo = jobs == 1 if echo is None else echo
        self.threads = threads or (1 if jobs > 1 else None)
        self.status = Status(runs, place)
        self.children: list[Child] = []
        self.interrupts = Interrupts()
        self.told = time.monotonic()

    def run(self) -> int:
        """Exit code: Status.conclusion."""
        with self.interrupts:
            try:
                while not self.interrupts.number and (self._start() or self.children):
                    self._collect()
                    self._progress()
                    time.sleep(POLL)
            finally:
                self.end_children()
        return self.status.conclusion(self.interrupts.number)

    def look(self):
        """Takes the table from the files of the runs."""
        self.status.look_at_all()

    def _start(self) -> bool:
        """Starts what can start. Whether something waits still."""
        for entry in self.status.of(WAITING):
            if self.interrupts.number:
                break
            source = self.status.by_run.get(entry.run.source)
            if self._settled(entry, source) or len(self.children) == self.jobs or source and source.state != DONE:
                continue
            try:
                self._launch(entry)
            except Busy:
                if not entry.line:
                    entry.line = "another process is at it; waiting"
                    self.status.say(entry, entry.line)
            except OSError as error:
                self._failed(entry, 2, sentence(error))
        return bool(self.status.of(WAITING))

    def _settled(self, entry: Entry, source: Entry | None) -> bool:
        """Whether nothing is to be done: it is done already, or stale, or its source cannot be had."""
        if not (self.force or entry.starts) and entry.run.done(self.place):
            self._finished(entry, f"done already: {entry.run.folder(self.place)}/{RESULTS}; --force makes it anew")
        elif source and source.state in (FAILED, STALE):
            self._failed(entry, source.code, f"its source {source.state}: {source.run.title}")
        elif entry.run.source and not source and judge(entry.run.source, self.place).state != DONE:
            self._failed(entry, 2, f"its source is not done: {entry.run.source.title}")
        return entry.state != WAITING

    def _launch(self, entry: Entry):
        log = Log(entry.run, self.place)
        fresh = self.force and not entry.starts
        if not fresh and entry.run.done(self.place):  # since we looked: another launcher was faster
            return log.close()
        text = f"-> {entry.run.folder(self.place)}  ({self.status.progress(self.jobs)})"
        self.status.say(entry, text, before="\n=== " if self.echo else "")
        command = command_of(entry.run, self.place, fresh)
        self.children.append(Child(entry.run, command, log, self._environment(), self.echo))
        entry.state, entry.line, entry.starts = RUNNING, "", entry.starts + 1

    def _environment(self) -> dict[str, str]:
        found = {}
        if self.threads and "OMP_NUM_THREADS" not in os.environ:
            found["OMP_NUM_THREADS"] = str(self.threads)
        if self.gpus:
            used = [child.environment["CUDA_VISIBLE_DEVICES"] for child in self.children]
            found["CUDA_VISIBLE_DEVICES"] = min(self.gpus, key=used.count)
        return found

    def _collect(self):
        for child in list(self.children):
            entry, code = self.status.by_run[child.run], child.code()
            child.show()
            entry.seconds = time.monotonic() - child.started
            if code is None:
                continue
            self.children.remove(child)
            child.kill()  # workers that it left behind
            if code == 0 and not entry.run.done(self.place):
                self._failed(entry, 1, f"it ended without {RESULTS}", child)
            elif code == 0:
                child.log.close()
                self._finished(entry)
            elif code == KILLED and entry.starts < 2:
                child.log.close()
                entry.state = WAITING
                self.status.say(entry, "killed; it is started once more")
            else:
                self._failed(entry, code, f"exit code {code}", child)

    def _finished(self, entry: Entry, text: str = ""):
        self.status.look(entry)
        if entry.state == DONE:
            before = "=== " if self.echo and not text else ""
            self.status.say(entry, f"{entry.line}  ({text or clock(entry.seconds)})", before)
        else:
            self.status.complain(entry, entry.line, [])

    def _failed(self, entry: Entry, code: int, reason: str, child: Child | None = None):
        tail = last_lines(entry.run, self.place, TAIL) if child else []
        with contextlib.suppress(Busy, OSError):  # for whoever asks later how it ended
            log = child.log if child else Log(entry.run, self.place)
            log.close(code, "" if child else reason)
        entry.state, entry.code, entry.line = FAILED, code, "; ".join([reason, *tail[-1:]])
        self.status.complain(entry, reason, [] if self.echo else tail)

    def end_children(self):
        """Each has the time to save a checkpoint; a second interrupt ends them at once."""
        end(self.children, hurry=lambda: self.interrupts.count > 1)
        for child in self.children:
            child.log.close()
            entry = self.status.look(self.status.by_run[child.run])
            if entry.state == WAITING:
                entry.line = "interrupted; goes on from its last checkpoint"
        self.children = []

    def _progress(self):
        if self.echo or time.monotonic() - self.told < EVERY:
            return
        self.told = time.monotonic()
        print(f"{self.status.progress(self.jobs)} after {clock(self.told - self.status.began)}")
        for entry in self.status.of(RUNNING):
            last = last_lines(entry.run, self.place)
            print(f"    {entry.run.title}: {last[0] if last else ''}", flush=True)


def with_sources(runs: list[Run]) -> list[Run]:
    """The runs, each once, behind the sources that they start from."""
    return list(dict.fromkeys([*(run.source for run in runs if run.source), *runs]))


def visible_gpus() -> list[str]:
    """Those of CUDA_VISIBLE_DEVICES, else all that nvidia-smi lists. Raises UserError where there is none."""
    found = [word for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word]
    if "CUDA_VISIBLE_DEVICES" not in os.environ:
        with contextlib.suppress(OSError):
            listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.splitlines()
            found = [str(n) for n in range(sum(line.startswith("GPU ") for line in listed))]
    if not found:
        raise UserError("--per-gpu: no GPU is visible here (CUDA_VISIBLE_DEVICES, nvidia-smi); --jobs N needs none")
    return found
