"""Signals that ask a script to end: noted, so that it can end in order."""

import signal
import time

STOPS = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupts:
    """Within it they are noted, not obeyed; one that is ignored (nohup) stays so."""

    def __init__(self):
        self.number = 0  # the first signal
        self.count = 0

    def __enter__(self):
        numbers = [getattr(signal, name) for name in STOPS if hasattr(signal, name)]
        self.before = {number: signal.getsignal(number) for number in numbers}
        for number, handler in self.before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.number, self.count = self.number or number, self.count + 1

    def wait(self, seconds: float):
        """Sleeps, no longer than until a signal comes."""
        limit = time.monotonic() + seconds
        while not self.number and time.monotonic() < limit:
            time.sleep(min(0.1, seconds))
