"""What a signal does to a run: what is known is saved, a line says how to go on, the exit code names the signal."""

import copy
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager

SHARE = 0.01  # of the time that copies of the state may take
STOPS = ("SIGINT", "SIGTERM", "SIGHUP")
TWICE = 0.5  # seconds within which a second signal is the first one's echo: a cluster and a launcher may both send it


class Interrupted(KeyboardInterrupt):
    """Raised by the first signal, wherever the run is. A KeyboardInterrupt, which loader workers know how to take."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number

    @property
    def code(self) -> int:
        """The exit code of a process that the signal ended: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number

    def __str__(self):
        return f"interrupted by {signal.Signals(self.number).name}; the same command goes on from the last checkpoint"


@contextmanager
def interruptible():
    """Within it the first signal raises Interrupted, a second one ends the process at once; an ignored one (nohup)
    stays so. For the main thread, where alone Python has signals."""
    owner, first = os.getpid(), []

    def obey(number, frame):
        if os.getpid() != owner:  # a worker that was forked while this held: the signal does what it always does
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not first:
            first.append(time.monotonic())
            raise Interrupted(number)
        elif time.monotonic() - first[0] > TWICE:
            for worker in multiprocessing.active_children():
                worker.kill()
            os._exit(128 + number)

    numbers = [getattr(signal, name) for name in STOPS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, obey)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Rolling:
    """A context manager around a loop that offers its state after each round. It saves one now and then, by
    `write(state)`; what is newer than the last saving is saved when the run is interrupted."""

    def __init__(self, write: Callable[[dict], None]):
        self.write = write
        self.saved_at = self.next_copy = -math.inf
        self.kept: dict | None = None  # a copy of what was offered since

    def offer(self, state: Callable[[], dict], seconds: float):
        """Saves `state()` if the last saving was `seconds` ago, else keeps a copy of it, where that costs little."""
        now = time.monotonic()
        if now - self.saved_at >= seconds:
            self.write(state())
            self.saved_at, self.kept = time.monotonic(), None
        elif now >= self.next_copy:
            self.kept = copy.deepcopy(state())
            copied = time.monotonic()
            self.next_copy = copied + (copied - now) / SHARE

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, Interrupted) and self.kept is not None:
            self.write(self.kept)
