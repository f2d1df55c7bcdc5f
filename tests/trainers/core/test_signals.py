"""Interrupts: the first one raises and lets the run save, the second one ends; what Rolling saves and when."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.waiting import is_alive, wait_for

from trainers.core.signals import Interrupted, Rolling

SIGNALS = Path(__file__).resolve().parents[3] / "trainers/core/signals.py"
PROGRAM = """
import importlib.util, multiprocessing, os, sys, time

spec = importlib.util.spec_from_file_location("signals", {path!r})  # alone: PyTorch takes seconds
signals = importlib.util.module_from_spec(spec)
spec.loader.exec_module(signals)
context = multiprocessing.get_context("fork")
forked = context.Event()  # Python may drop a signal, or lose sight of the worker, while it is being forked


def work():
    forked.wait()
    print("ready", os.getpid(), flush=True)
    time.sleep(60)


try:
    with signals.interruptible():
        try:
            context.Process(target=work, daemon=True).start()
            forked.set()
            time.sleep(60)
        finally:
            print("saving", flush=True)
            time.sleep({saving})
            print("saved", flush=True)
except signals.Interrupted as stop:
    print(stop)
    sys.exit(stop.code)
"""


@pytest.fixture
def start():
    """start(saving=0) -> (a process that waits, the number of its worker)."""
    started = []

    def run(saving=0.0):
        program = PROGRAM.format(path=str(SIGNALS), saving=saving)
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, int(process.stdout.readline().split()[1])

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_lets_the_run_save_and_names_itself(start, number, code):
    process, _ = start()
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code and "saved\n" in out
    assert f"interrupted by {number.name}; the same command goes on from the last checkpoint" in out


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_second_signal_ends_it_at_once_with_its_workers(start):
    process, worker = start(saving=60)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "saving\n"
    time.sleep(0.6)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "saved" not in out
    wait_for(lambda: not is_alive(worker))


def test_what_is_newer_than_the_last_saving_is_saved_at_an_interrupt():
    saved, state = [], {"epoch": [0]}
    with pytest.raises(Interrupted), Rolling(lambda found: saved.append(found["epoch"][0])) as rolling:
        for epoch in (1, 2, 3):
            state["epoch"][0] = epoch
            rolling.next_copy = 0.0
            rolling.offer(lambda: state, seconds=60)
        state["epoch"][0] = 4  # the round that was interrupted
        raise Interrupted(signal.SIGTERM)
    assert saved == [1, 3]


def test_nothing_is_saved_twice_or_after_another_error():
    saved = []
    with pytest.raises(Interrupted), Rolling(saved.append) as rolling:
        rolling.offer(lambda: {"epoch": 1}, seconds=0)
        raise Interrupted(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), rolling:
        rolling.offer(lambda: {"epoch": 2}, seconds=60)
        raise ZeroDivisionError
    assert saved == [{"epoch": 1}]
