"""A process that makes one run of train.py after another, each in a fork of itself, with all imports done already.

A line of its input is a run: the words of the command and the file that takes what it prints. It answers with the
number of the run's process and, once that has ended, with its exit code; a signal's is negative.
"""

import ctypes
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FORKS = sys.platform == "linux"  # elsewhere a fork is not safe once PyTorch is loaded, and a run is a plain process
# What costs time in every run. None of it starts threads of OpenMP or touches a GPU, which no fork would survive.
IMPORTS = ("torch._dynamo", "torchvision", "timm", "train")
PR_SET_PDEATHSIG = 1


class Worker:
    """The launcher's end: makes one run at a time, in a process that is started for the first. `environment` is that of
    the runs."""

    def __init__(self, environment: dict[str, str]):
        self.environment = environment
        self.process: subprocess.Popen | None = None

    def start(self, words: list[str], log: Path):
        self.pid = self.code = None
        if self.process is None or self.process.poll() is not None:
            command = [sys.executable, "-m", "scripts.lib.worker"]
            pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
            where = {"cwd": ROOT, "start_new_session": True}  # Ctrl-C reaches the launcher alone, which ends the runs
            self.process = subprocess.Popen(command, bufsize=0, env=self.environment, **pipes, **where)
        self.process.stdin.write(json.dumps([words, str(log)]).encode() + b"\n")

    def poll(self) -> int | None:
        """The exit code of the run; None while it goes on."""
        while self.code is None and select.select([self.process.stdout], [], [], 0)[0]:
            answer = self.process.stdout.readline()
            if not answer:  # somebody has killed the worker, and so its run
                self.code = self.process.wait()
            elif self.pid is None:
                self.pid = int(answer)
            else:
                self.code = int(answer)
        return self.code

    def end(self, number: int):
        """SIGTERM lets the run save and end, for which it needs its own workers; SIGKILL ends them all."""
        with suppress(ProcessLookupError):
            (os.killpg if number == signal.SIGKILL else os.kill)(self.pid or self.process.pid, number)

    def close(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait()


def main():
    end_with_parent()
    if FORKS:
        load()
    running: list[int] = []

    def pass_on(number, frame):
        """A cluster's signal, which goes to all processes at once, must not end us before the run has saved."""
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if not running:
            sys.exit(128 + number)

    signal.signal(signal.SIGTERM, pass_on)
    for line in sys.stdin:
        running.append((fork if FORKS else spawn)(*json.loads(line)))
        answer(running[0])
        _, status = os.waitpid(running[0], 0)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(running.pop(), signal.SIGKILL)  # what the run has left behind
        answer(os.waitstatus_to_exitcode(status))


def answer(number: int):
    with suppress(BrokenPipeError):  # the launcher was killed
        os.write(1, f"{number}\n".encode())


def end_with_parent():
    """When the launcher ends, also where it is killed, Linux sends SIGTERM: to us, and from us to the run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def load():
    """What cannot be imported is left to the run, in whose log the reason belongs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in IMPORTS:
            with suppress(Exception):
                importlib.import_module(name)
        with suppress(Exception):
            sys.modules["train"].with_defaults()  # registers the trainers


def standard_streams(log: str) -> list[tuple[int, str, int, int]]:
    """Of a run: (stream, file, flags, mode)."""
    return [(stream, log if stream else os.devnull, os.O_RDWR | os.O_APPEND, 0) for stream in (0, 1, 2)]


def fork(words: list[str], log: str) -> int:
    """-> the process number. In the new process this runs train.py as Python would, and does not return."""
    if pid := os.fork():
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setsid()
    end_with_parent()
    for stream, *opened in standard_streams(log):
        os.dup2(os.open(*opened), stream)
    sys.argv[:] = words
    runpy.run_path(words[0], run_name="__main__")
    sys.exit()


def spawn(words: list[str], log: str) -> int:
    """-> the process number of a Python that runs train.py."""
    opened = [(os.POSIX_SPAWN_OPEN, *where) for where in standard_streams(log)]
    return os.posix_spawn(sys.executable, [sys.executable, *words], os.environ, file_actions=opened, setpgroup=0)


if __name__ == "__main__":
    main()
