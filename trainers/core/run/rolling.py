"""Saves a state now and then; what is newer than the last saving is saved when the run is interrupted."""

import copy
import math
import time
from collections.abc import Callable

from .signals import Interrupted

SHARE = 0.01  # of the time that copies of the state may take


class Rolling:
    """A context manager around a loop that offers its state after each round. `write(state)` saves one."""

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
