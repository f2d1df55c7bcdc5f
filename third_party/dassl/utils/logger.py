"""The log file of a run: everything that is printed, also kept in log.txt."""

import sys
import time
from os import path as osp

from .files import mkdir_if_missing


class Logger:
    """Stands in for sys.stdout: writes to the console and, line by line, to a file: a killed run keeps its log."""

    def __init__(self, console, fpath):
        mkdir_if_missing(osp.dirname(fpath))
        self.console = console
        self.file = _open_new(fpath)

    def write(self, text):
        self.file.write(text)
        return self.console.write(text)

    def flush(self):
        self.console.flush()
        self.file.flush()

    def close(self):
        """Close the file; the console stays open."""
        self.file.close()

    def __getattr__(self, name):  # isatty, encoding, fileno, ...
        return getattr(self.console, name)


def setup_logger(output=None):
    """From now on copy standard output to `output`, a .txt or .log file or a folder that gets log.txt.

    A file that exists is left alone: the new one has the time in its name. A later call switches to the later file;
    None changes nothing.
    """
    if output is None:
        return
    fpath = output if output.endswith((".txt", ".log")) else osp.join(output, "log.txt")
    console = sys.stdout
    if isinstance(console, Logger):
        console.close()
        console = console.console
    sys.stdout = Logger(console, fpath)


def _open_new(fpath):
    """Open `fpath` for writing, or fpath-<time> (and -<time>-<n>) where files of that name exist."""
    stamp = time.strftime("-%Y-%m-%d-%H-%M-%S")
    suffix, count = "", 0
    while True:
        try:
            return open(fpath + suffix, "x", encoding="utf-8", buffering=1)
        except FileExistsError:
            suffix = stamp if count == 0 else f"{stamp}-{count}"
            count += 1
