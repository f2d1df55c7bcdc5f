"""What a fit in a user's own process may not leave behind: printed lines, seeded generators; and one fit at a time."""

import os
import sys
import threading
from contextlib import contextmanager

import torch

from .randomness import preserved_randomness

ONE_AT_A_TIME = threading.RLock()  # a fit seeds the random generators of the whole process


@contextmanager
def undisturbed(cuda: bool = False):
    """Within it random generators may be seeded, of GPUs too with `cuda`; afterwards they are as before."""
    cuda = torch.cuda.is_available() and (cuda or torch.cuda.is_initialized())
    devices = range(torch.cuda.device_count()) if cuda else []
    with preserved_randomness(), torch.random.fork_rng(devices=devices):
        yield


class Log:
    """Stands for sys.stdout: keeps what this thread prints, and shows it where it is asked to; what other threads print
    passes."""

    def __init__(self, console, shows):
        self.console, self.shows, self.thread, self.kept = console, shows, threading.get_ident(), []

    def write(self, text):
        if threading.get_ident() != self.thread:
            return self.console.write(text)
        self.kept.append(text)
        return self.console.write(text) if self.shows else len(text)

    def __getattr__(self, name):  # flush, isatty, encoding, ...
        return getattr(self.console, name)


@contextmanager
def logged(progress, out):
    """What is printed within it goes to log.txt in `out`, and is shown where `progress` is True."""
    log = sys.stdout = Log(sys.stdout, progress is True)
    try:
        yield
    finally:
        sys.stdout = log.console
        if out and os.path.isdir(out):
            with open(os.path.join(out, "log.txt"), "a", encoding="utf-8") as file:
                file.writelines(log.kept)


def quiet():
    """A context whose lines nobody sees."""
    return logged(False, "")
