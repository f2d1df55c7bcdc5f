"""Processes that read images: they end with their parent, and a full /dev/shm hangs nobody."""

import multiprocessing
import os
import signal
import time
from types import SimpleNamespace

import pytest
from helpers.waiting import is_alive, wait_for

from trainers.core import workers
from trainers.core.workers import image_batches


class Slow:
    """Twenty items that take their time; each says which process read it."""

    def __len__(self):
        return 20

    def __getitem__(self, i):
        time.sleep(0.2)
        return os.getpid()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux")
def test_workers_end_when_their_parent_is_killed():
    fork = multiprocessing.get_context("fork")
    found = fork.Queue()

    def read():
        for batch in image_batches(Slow(), 2, batch_size=1, collate_fn=list):
            found.put(batch[0])

    reader = fork.Process(target=read)
    reader.start()
    pids = {found.get(timeout=60) for _ in range(4)}
    assert len(pids) == 2 and reader.pid not in pids and all(map(is_alive, pids))
    os.kill(reader.pid, signal.SIGKILL)
    reader.join()
    wait_for(lambda: not any(map(is_alive, pids)), seconds=2)  # PyTorch's own look after the parent comes every 5


@pytest.mark.parametrize(
    "free, limit, shared, expected",
    [(399, -1, 100, 0), (401, -1, 100, 2), (1000, 50, 100, 0), (1, -1, 0, 2)],
)
def test_without_shared_memory_there_are_no_workers(monkeypatch, capsys, free, limit, shared, expected):
    """Two workers prepare two batches each."""
    monkeypatch.setattr(workers.os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))
    monkeypatch.setattr(workers.resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr(workers, "SHARED_MEMORY", "/")
    assert image_batches(Slow(), 2, shared, batch_size=1).num_workers == expected
    assert ("has no room for 2 processes" in capsys.readouterr().out) == (expected == 0)
