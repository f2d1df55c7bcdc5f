"""Digests beside files, and the lock between processes."""

import multiprocessing
import os
import signal
import time
from contextlib import redirect_stdout

import pytest

from trainers.core.files import UserError, digest_of, one_at_a_time, sha256_of, writing


def test_the_digest_beside_a_file_is_honoured(tmp_path):
    file, beside = tmp_path / "weights.pt", tmp_path / "weights.pt.sha256"
    file.write_bytes(b"some weights" * 1000)
    assert digest_of(file) == sha256_of(file)
    beside.write_text(f"{sha256_of(file)}  weights.pt\n")
    assert digest_of(file) == sha256_of(file)
    file.write_bytes(b"some weighty" + b"some weights" * 999)
    with pytest.raises(UserError, match="weights.pt is damaged: its sha256 is .*weights.pt.sha256 says"):
        digest_of(file)
    with pytest.raises(UserError, match="cannot read .*: "):
        digest_of(tmp_path)


def test_a_disk_that_refuses_gives_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the cache: Not a directory. Make room or choose another folder"):
        with writing("the cache"):
            os.makedirs(tmp_path / "file" / "below")
    with pytest.raises(UserError, match="cannot write .*file/lock"), one_at_a_time(tmp_path / "file" / "lock", ""):
        pass


def test_one_process_at_a_time_and_nothing_is_left(tmp_path):
    """Six processes add to a number in a file, in steps that would lose counts."""
    fork, number = multiprocessing.get_context("fork"), tmp_path / "number"
    number.write_text("0")

    def add():
        for _ in range(5):
            with one_at_a_time(tmp_path / "lock", "waiting"):
                found = int(number.read_text())
                time.sleep(0.002)
                number.write_text(str(found + 1))

    processes = [fork.Process(target=add, daemon=True) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert number.read_text() == "30" and os.listdir(tmp_path) == ["number"]


def test_the_lock_of_a_dead_process_is_free_even_while_its_child_lives(tmp_path, capsys):
    fork = multiprocessing.get_context("fork")
    children = fork.Queue()

    def hold():
        with one_at_a_time(tmp_path / "lock", "waiting"):
            child = fork.Process(target=time.sleep, args=(60,))
            child.start()
            children.put(child.pid)
            time.sleep(60)

    holder = fork.Process(target=hold)
    holder.start()
    child = children.get(timeout=60)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    try:
        with one_at_a_time(tmp_path / "lock", "waiting"):
            assert not capsys.readouterr().out
    finally:
        os.kill(child, signal.SIGKILL)


def test_who_waits_says_so(tmp_path):
    fork = multiprocessing.get_context("fork")
    held, said = fork.Event(), tmp_path / "said"

    def wait():
        held.wait()
        with open(said, "w") as file, redirect_stdout(file), one_at_a_time(tmp_path / "lock", "another is at it"):
            pass

    waiter = fork.Process(target=wait, daemon=True)
    waiter.start()
    with one_at_a_time(tmp_path / "lock", ""):
        held.set()
        deadline = time.monotonic() + 30
        while not (said.exists() and "another is at it" in said.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    waiter.join()
    assert waiter.exitcode == 0
