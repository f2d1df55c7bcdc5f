"""The table of a launch: each run's state, seconds and last log line."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .run import Run

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass
class Entry:
    run: Run
    number: int  # from 1
    state: str = WAITING
    line: str = ""  # the last line of its log; its metrics when it is done, the reason when it failed
    seconds: float = 0.0  # in this launch
    code: int = 0


class Status:
    """`cost`: how long a run takes, in any unit, for the estimate of what is left."""

    def __init__(self, runs: list[Run], cost: Callable[[Run], float] = lambda run: 1.0):
        self.cost = cost
        self.entries = [Entry(run, number) for number, run in enumerate(runs, 1)]
        self.by_run = {entry.run: entry for entry in self.entries}

    def of(self, state: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.state == state]

    def counts(self) -> str:
        """12 done, 2 running, 1 failed, 51 waiting"""
        states = (DONE, RUNNING, FAILED, WAITING)
        return ", ".join(f"{len(self.of(state))} {state}" for state in states if self.of(state))

    def left(self, jobs: int = 1) -> float | None:
        """Seconds that are left, judged by what this launch has finished; None before the first."""
        finished = [entry for entry in self.of(DONE) if entry.seconds]
        spent = sum(self.cost(entry.run) for entry in finished)
        if not spent:
            return None
        still = sum(self.cost(entry.run) for entry in self.of(WAITING) + self.of(RUNNING))
        return sum(entry.seconds for entry in finished) / spent * still / jobs

    def text(self) -> str:
        width = max((len(entry.run.title) for entry in self.entries), default=0)
        rows = [f"{one.state:<8} {one.run.title:<{width}} {one.seconds:>7.0f} s  {one.line}" for one in self.entries]
        return "\n".join([self.counts(), *(row.rstrip() for row in rows)]) + "\n"

    def write(self, path: Path):
        """Atomically, for whoever wants to look in."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(self.text(), encoding="utf-8")
        os.replace(part, path)


def clock(seconds: float) -> str:
    """45 s, 12 min, 3.4 h"""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
