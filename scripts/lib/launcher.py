"""Makes runs side by side, each a process of its own that is forked from a server which has imported everything."""

import multiprocessing
import os
import runpy
import signal
import sys
from multiprocessing.connection import wait

from trainers.core.files import read_results, summary

from .runs import BEGUN, DONE, ENDED, FAILED, STALE, STATES, WAITING, Run, State, log_tail, state_of

POLL = 0.1  # seconds between two looks at the runs
TAIL = 20  # lines shown of the log of a run that failed
# Elsewhere a fork is not safe once PyTorch is loaded, and a run is a new Python.
CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
CONTEXT.set_forkserver_preload(["scripts.lib.preload"])


def train(words: list[str], log: str, gpu: str):
    """In the new process: what Python does for a command line, with a file that takes what is printed."""
    if not multiprocessing.parent_process().is_alive():
        return  # the launcher was interrupted while the server imported
    multiprocessing.set_start_method(None, force=True)  # workers that read images are started as in any other run
    os.setsid()  # Ctrl-C reaches the launcher alone, which ends the runs
    for number in (signal.SIGHUP, signal.SIGTERM):  # which the server ignores
        signal.signal(number, signal.SIG_DFL)
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv[:] = words
    runpy.run_path(words[0], run_name="__main__")


class Worker:
    """The process of a run. `gpu`: the one that it sees; "": all. `force`: the run is made also if it is done."""

    def __init__(self, run: Run, gpu: str = "", force: bool = False):
        self.run, self.gpu = run, gpu
        run.log.parent.mkdir(parents=True, exist_ok=True)
        run.log.write_bytes(b"")
        self.printed = open(run.log, encoding="utf-8", errors="replace")
        self.process = CONTEXT.Process(target=train, args=(run.command(force), str(run.log), gpu))
        self.process.start()


class Launcher:
    """Makes as many runs side by side as there are `gpus`: a GPU may be there several times, "" stands for any device.
    `force` makes runs anew that are done or stale."""

    def __init__(self, found: list[Run], gpus: list[str], force: bool = False):
        self.force, self.jobs = force, len(gpus)
        self.free, self.workers = gpus, []
        self.states = {run: State(WAITING) if force else state_of(run) for run in found}

    def run(self) -> int:
        """Makes what is not done, sources first. When it is interrupted, the runs that go on save and end. -> the exit
        status: 1 if one failed or is stale, else 0"""
        os.environ["PYTHONUNBUFFERED"] = "1"
        if self.jobs > 1:
            os.environ.setdefault("OMP_NUM_THREADS", "1")
        unfinished = [run for run, state in self.states.items() if state.name not in (DONE, STALE)]
        try:
            self.make([run for run in unfinished if not run.source])
            self.make([run for run in unfinished if run.source])
        finally:
            self.stop()
            print(f"\n{self.counts()}", flush=True)
        for run, state in self.states.items():
            if state.name in (STALE, FAILED):
                print(f"{state.name}: {run.folder}: {state.line}\n    {run.log}", file=sys.stderr)
        return int(any(state.name in (STALE, FAILED) for state in self.states.values()))

    def make(self, waiting: list[Run]):
        while waiting or self.workers:
            while waiting and self.free:
                self.begin(waiting.pop(0))
            wait([worker.process.sentinel for worker in self.workers], POLL)
            for worker in list(self.workers):
                has_ended = not worker.process.is_alive()
                if self.jobs == 1:
                    print(worker.printed.read(), end="", flush=True)
                if has_ended:
                    self.finish(worker)

    def begin(self, run: Run):
        """Starts it, unless its source is not done."""
        source = run.source and (self.states.get(run.source) or state_of(run.source))
        if source and source.name != DONE:
            self.note(run, State(FAILED, f"its source is {source.name}: {run.source.folder}"))
            return
        self.note(run, State(BEGUN))
        self.workers.append(Worker(run, self.free.pop(), self.force))

    def finish(self, worker: Worker):
        run, code = worker.run, worker.process.exitcode
        self.workers.remove(worker)
        self.free.append(worker.gpu)
        worker.printed.close()
        if code == 0 and run.results.exists():
            self.note(run, State(DONE, summary(read_results(run.results))))
        else:
            with open(run.log, "a", encoding="utf-8") as log:
                log.write(f"{ENDED}{code}\n")
            self.note(run, State(FAILED, "; ".join(log_tail(run, 2))))

    def stop(self):
        """Lets the runs that go on save and end."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()

    def note(self, run: Run, state: State):
        """Keeps and prints a run's state; with the end of its log, if it failed and was not seen."""
        self.states[run] = state
        tail = log_tail(run, TAIL) if state.name == FAILED and self.jobs > 1 else []
        line = f"[{list(self.states).index(run) + 1}/{len(self.states)}] {run.folder}: {state.name}  {state.line}"
        print("\n    ".join([line.rstrip(), *tail]), file=sys.stderr if state.name == FAILED else None, flush=True)

    def counts(self) -> str:
        """12 done, 1 failed"""
        names = [state.name for state in self.states.values()]
        return ", ".join(f"{names.count(name)} {name}" for name in STATES if name in names)
