"""One run's process: in a session of its own, its output passed on, its last lines kept, its folder locked."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

from .run import ROOT, Place, Run

try:
    import fcntl
except ImportError:  # not on Windows: there two launchers must not share a list
    fcntl = None

TAIL = 20  # lines kept, and shown of a run that failed
GRACE = 10.0  # seconds that a process has to end after SIGTERM


class Busy(Exception):
    """Another process has the run's folder."""


class Child:
    """Started at once. `held`: a lock that the process holds until it ends. `echo`: what it prints is shown as it
    comes."""

    def __init__(self, run: Run, place: Place, threads: int | None, held: int | None, echo: bool):
        self.run, self.echo = run, echo
        self.lines: deque[str] = deque(maxlen=TAIL)
        self.started = time.monotonic()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if threads:
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        self.process = subprocess.Popen(
            [sys.executable, *run.command(place)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=() if held is None else (held,),
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which ends its children
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        rest = ""
        while block := os.read(self.process.stdout.fileno(), 1 << 16):
            text = block.decode("utf-8", "replace")
            if self.echo:
                self._show(text)
            *lines, rest = re.split(r"[\r\n]", rest + text)  # a progress bar rewrites its line after \r
            self.lines.extend(line.rstrip() for line in lines if line.strip())
        self.lines.extend([rest.rstrip()] if rest.strip() else [])

    def _show(self, text: str):
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:  # nobody listens any more; the launcher notices at its next line
            self.echo = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def last(self) -> str:
        return self.lines[-1] if self.lines else ""

    @property
    def tail(self) -> list[str]:
        return list(self.lines)

    def code(self) -> int | None:
        """None while it runs; then the exit code, 128 + the signal where one ended it."""
        code = self.process.poll()
        if code is None:
            return None
        self.reader.join(timeout=5)  # for what it printed last; a worker left behind may still hold the pipe
        return 128 - code if code < 0 else code

    def send(self, number: int):
        """The signal goes to the process and to its own children (workers that load images)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def end(children: list[Child]):
    """Ends all of them: asked first, forced after GRACE seconds."""
    for child in children:
        child.send(signal.SIGTERM)
    limit = time.monotonic() + GRACE
    while time.monotonic() < limit and any(child.process.poll() is None for child in children):
        time.sleep(0.05)
    for child in children:
        child.send(signal.SIGKILL)
        child.process.wait()


def lock(folder: Path) -> int | None:
    """Locks a run's folder, so that launchers which share a list never make one run twice. The lock goes with the last
    process that holds it. None where the file system has no such locks. Raises Busy."""
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor
    except BlockingIOError:
        os.close(descriptor)
        raise Busy(str(folder)) from None
    except OSError:
        os.close(descriptor)
        return None


def release(descriptor: int | None):
    if descriptor is not None:
        os.close(descriptor)
