"""The table of a list of runs: each one's state, seconds and last log line; and what is told of them."""

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from .child import ENDED, is_running, last_lines, log_of
from .done import DONE, STALE, judge
from .run import Place, Run, read_results, summary

WAITING, RUNNING, FAILED = "waiting", "running", "failed"


@dataclass
class Entry:
    run: Run
    number: int  # from 1
    state: str = WAITING
    line: str = ""  # the last line of its log; its metrics when it is done, the reason when it failed or is stale
    seconds: float = 0.0
    code: int = 0
    starts: int = 0  # in this launch


class Status:
    """`cost`: how long a run takes, in any unit, for the estimate of what is left."""

    def __init__(self, runs: list[Run], place: Place, cost: Callable[[Run], float] = lambda run: 1.0):
        self.place, self.cost = place, cost
        self.entries = [Entry(run, number) for number, run in enumerate(runs, 1)]
        self.by_run = {entry.run: entry for entry in self.entries}
        self.began = time.monotonic()

    def of(self, *states: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.state in states]

    def look(self, entry: Entry) -> Entry:
        """Takes the entry's state from the files of its run, whoever made them."""
        run, place = entry.run, self.place
        *before, last = last_lines(run, place, 2) or [""]
        entry.state, entry.line, entry.code = WAITING, last, 0
        verdict = judge(run, place)
        if verdict.state == DONE:
            entry.line, entry.state = summary(run.results(place)), DONE
            entry.seconds = entry.seconds or sum(read_results(run.results(place)).get("seconds", {}).values())
        elif verdict.state == STALE:
            entry.state, entry.code = STALE, 2
            entry.line = f"{verdict.why}; --force makes it anew, OUTPUT=DIR names another folder"
        elif is_running(run, place):
            entry.state = RUNNING
        elif last.startswith(ENDED):
            entry.state, entry.code = FAILED, int(last.removeprefix(ENDED))
            entry.line = "; ".join([f"exit code {entry.code}", *before])
        return entry

    def look_at_all(self):
        for entry in self.entries:
            self.look(entry)

    # ------------------------------------------------------------------------------------------------ what is told

    def counts(self) -> str:
        """12 done, 2 running, 1 failed, 51 waiting"""
        states = (DONE, RUNNING, FAILED, STALE, WAITING)
        return ", ".join(f"{len(self.of(state))} {state}" for state in states if self.of(state))

    def left(self, jobs: int = 1) -> float | None:
        """Seconds that are left, judged by the finished runs of the same trainer, else by all; None before the
        first."""
        finished = [entry for entry in self.of(DONE) if entry.seconds and self.cost(entry.run)]
        if not finished:
            return None

        def rate(trainer: str) -> float:
            like = [entry for entry in finished if entry.run.trainer == trainer] or finished
            return sum(entry.seconds for entry in like) / sum(self.cost(entry.run) for entry in like)

        still = self.of(WAITING, RUNNING)
        return sum(self.cost(entry.run) * rate(entry.run.trainer) for entry in still) / max(1, jobs)

    def progress(self, jobs: int = 1) -> str:
        """1 done, 3 waiting, about 12 min left"""
        left = self.left(jobs)
        return self.counts() + (f", about {clock(left)} left" if left else "")

    def text(self) -> str:
        width = max((len(entry.run.title) for entry in self.entries), default=0)
        rows = [f"{one.state:<8} {one.run.title:<{width}} {one.seconds:>7.0f} s  {one.line}" for one in self.entries]
        jobs = len(self.of(RUNNING))
        return "\n".join([*(row.rstrip() for row in rows), self.progress(jobs)])

    def commands(self, force: bool = False) -> list[str]:
        """For --dry-run: what would run, and what is done or stale."""
        found = []
        for run in (entry.run for entry in self.entries):
            verdict = judge(run, self.place)
            if force or verdict.state not in (DONE, STALE):
                found.append(shlex.join(["python", *command_of(run, self.place, force)]))
            else:
                why = f" ({verdict.why})" if verdict.state == STALE else ""
                found.append(f"# {verdict.state}: {run.folder(self.place)}{why}")
        return found

    def say(self, entry: Entry, text: str, before: str = ""):
        print(f"{before}[{entry.number}/{len(self.entries)}] {entry.run.title}: {text}", flush=True)

    def complain(self, entry: Entry, reason: str, lines: list[str]):
        sys.stdout.flush()
        words = f"[{entry.number}/{len(self.entries)}] {entry.state.upper()}: {entry.run.title} ({reason})"
        print("\n    ".join([words, *lines]), file=sys.stderr, flush=True)

    def conclusion(self, stopped: int = 0) -> int:
        """Exit code: 0 if every run is done; else the first one's that failed or is stale, or 128 + the signal that
        interrupted us."""
        bad, several = self.of(FAILED, STALE), len(self.entries) > 1
        if several:
            print(f"\n{self.counts()} ({clock(time.monotonic() - self.began)})", flush=True)
        for entry in bad if several else ():
            print(f"{entry.state}: {entry.run.title}: {entry.line}", file=sys.stderr)
            print(f"    {log_of(entry.run, self.place)}", file=sys.stderr)
        if stopped:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            return 128 + stopped
        return bad[0].code if bad else 0


def command_of(run: Run, place: Place, force: bool) -> list[str]:
    """train.py and its arguments; with `force` it puts aside what is there."""
    train, *words = run.command(place)
    return [train, *(["--force"] if force else []), *words]


def clock(seconds: float) -> str:
    """45 s, 12 min, 3.4 h"""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
