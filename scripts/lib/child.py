"""One run's process. What it prints goes into a file beside its folder, and that file is its lock.

The process holds the lock as long as it lives, whatever becomes of the launcher; and it ends with the launcher.
"""

import codecs
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .run import ROOT, Place, Run

try:
    import fcntl
except ImportError:  # not on Windows: there two launchers must not share a list
    fcntl = None  # type: ignore[assignment]

GRACE = 30.0  # seconds that a process has to save and end after SIGTERM
ENDED = "=== exit code "  # the last line of a failed run's log
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # before the fork: nothing may be loaded behind it
PR_SET_PDEATHSIG = 1


class Busy(Exception):
    """Another process is at the run."""


class Log:
    """The file `.seed<s>.log` beside a run's folder, locked. Raises Busy, OSError."""

    def __init__(self, run: Run, place: Place):
        self.path = log_of(run, place)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(self.path, "ab")
        if not locked(self.file.fileno()):
            self.file.close()
            raise Busy(str(self.path))
        self.file.truncate(0)

    def close(self, code: int = 0, reason: str = ""):
        """Gives the lock up. A code other than 0 is noted for whoever asks how the run ended, below a `reason` that the
        log does not hold yet."""
        with contextlib.suppress(OSError), self.file:  # a full disk must not keep the launcher from going on
            if code:
                self.file.write(f"{reason}\n{ENDED}{code}\n".lstrip().encode())


class Child:
    """Started at once. `environment`: variables on top of ours. `echo`: `show` passes on what it prints."""

    def __init__(self, run: Run, command: list[str], log: Log, environment: dict[str, str], echo: bool):
        self.run, self.log = run, log
        self.started = time.monotonic()
        self.environment = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace", **environment}
        self.shown = open(log.path, "rb") if echo else None
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=log.file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which ends its children
            preexec_fn=bound_to(os.getpid()) if os.name == "posix" else None,
        )

    def show(self):
        """What it printed since the last call."""
        while self.shown and (block := self.shown.read(1 << 16)):
            print(self.decoder.decode(block), end="", flush=True)

    def code(self) -> int | None:
        """None while it runs; then the exit code, 128 + the signal where one ended it."""
        code = self.process.poll()
        return 128 - code if code is not None and code < 0 else code

    def kill(self):
        """The process and its own children (workers that load images), also those that it left behind."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def bound_to(parent: int) -> Callable[[], None]:
    """What the new process does before it becomes train.py: it shall not outlive the process `parent`, killed or not.
    SIGUSR2, by which Slurm announces that a job's time ends, is for the launcher."""

    def prepare():
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        if LIBC:
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)

    return prepare


def end(children: list[Child], hurry: Callable[[], bool] = lambda: False):
    """Ends all of them: each is asked to save and end; after GRACE seconds, or once `hurry()`, it is forced."""
    for child in children:
        if child.process.poll() is None:
            child.process.terminate()  # the process alone: without its workers it could not finish its step
    limit = time.monotonic() + GRACE
    while not hurry() and time.monotonic() < limit and any(child.process.poll() is None for child in children):
        time.sleep(0.05)
    for child in children:
        child.kill()
        child.show()


def log_of(run: Run, place: Place) -> Path:
    folder = ROOT / run.folder(place)
    return folder.with_name(f".{folder.name}.log")


def locked(descriptor: int) -> bool:
    """Whether we have its lock now; also where the file system knows no locks."""
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True


def is_running(run: Run, place: Place) -> bool:
    try:
        with open(log_of(run, place), "rb") as file:
            return not locked(file.fileno())
    except OSError:
        return False


def last_lines(run: Run, place: Place, count: int = 1) -> list[str]:
    """The last lines of a run's log that are not empty, at most `count`."""
    try:
        with open(log_of(run, place), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 16)))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = [line.rstrip() for line in re.split(r"[\r\n]", text)]  # a progress bar rewrites its line after \r
    return [line for line in lines if line][-count:]
