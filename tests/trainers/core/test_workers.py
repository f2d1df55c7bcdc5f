"""Processes that read images: they end with their parent, and a full /dev/shm or half of torchrun hangs nobody."""

import multiprocessing
import os
import signal
import time
from types import SimpleNamespace

import pytest

from trainers.core import workers
from trainers.core.files import UserError
from trainers.core.workers import image_batches, rank_and_world


class Slow:
    """Twenty items that take their time; each says which process read it."""

    def __len__(self):
        return 20

    def __getitem__(self, i):
        time.sleep(0.2)
        return os.getpid()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


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
    assert len(pids) == 2 and reader.pid not in pids and all(map(alive, pids))
    os.kill(reader.pid, signal.SIGKILL)
    reader.join()
    deadline = time.monotonic() + 2  # PyTorch's own look after the parent comes every 5 seconds
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "free, limit, shared, expected",
    [(0, -1, 0, 0), (399, -1, 100, 0), (401, -1, 100, 2), (1000, 50, 100, 0), (1000, 200, 100, 2), (1, -1, 0, 2)],
)
def test_without_shared_memory_there_are_no_workers(monkeypatch, capsys, free, limit, shared, expected):
    """Two workers prepare two batches each."""
    monkeypatch.setattr(workers.os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))
    monkeypatch.setattr(workers.resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr(workers, "SHARED_MEMORY", "/")
    assert image_batches(Slow(), 2, shared, batch_size=1).num_workers == expected
    assert ("has no room for 2 processes" in capsys.readouterr().out) == (expected == 0)


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, (0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),
        ({"WORLD_SIZE": "2"}, None),
        ({"RANK": "2", "WORLD_SIZE": "2"}, None),
        ({"RANK": "a", "WORLD_SIZE": "2"}, None),
    ],
)
def test_half_of_torchruns_variables_is_a_sentence(monkeypatch, given, expected):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    if expected:
        assert rank_and_world() == expected
    else:
        with pytest.raises(UserError, match="as torchrun sets them, found .*WORLD_SIZE|RANK"):
            rank_and_world()
