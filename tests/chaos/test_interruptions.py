"""Kills, at random times and at every operation on files, a full disk, and processes that share a cold cache."""

import builtins
import errno
import os
import signal

import pytest
from chaos.lab import KINDS, difference

OPERATIONS = ("replace", "rename", "remove", "unlink", "mkdir", "fsync", "rmdir", "link", "truncate")


def test_a_run_killed_at_random_times_ends_as_if_it_had_not_been(lab, rng):
    kind = rng.choice(list(KINDS))
    (_, seconds), out = lab.whole(kind), lab.new()
    for _ in range(rng.randint(1, 3)):
        assert not lab.start(kind, out).wait(limit=rng.random() * seconds).left
    lab.check_continues(kind, out)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def disk_full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "(a full disk)")


@pytest.mark.parametrize("act", [die, disk_full])
def test_a_run_disturbed_at_an_operation_on_files_ends_as_if_it_had_not_been(lab, rng, act):
    kind, counter = rng.choice(list(KINDS)), lab.folder / "operations"
    lab.run(kind, lab.new(), prepare=lambda: at_operation(0, None, counter))
    number, out = rng.randint(1, int(counter.read_text())), lab.new()
    done = lab.run(kind, out, prepare=lambda: at_operation(number, act))
    assert not done.left
    assert done.code == -signal.SIGKILL if act is die else not done.fault, done.fault
    lab.check_continues(kind, out)


def test_processes_that_fill_one_cold_cache_find_the_same(lab, rng):
    whole, _ = lab.whole("images")
    cache, outs = lab.new(), [lab.new() for _ in range(rng.choice((2, 4)))]
    processes = [lab.start("images", out, options=["FEATURES.DIR", cache]) for out in outs]
    for process, out in zip(processes, outs, strict=True):
        done = process.wait()
        assert done.code == 0 and not done.fault, done.fault
        assert difference(whole, out) == ""
    expected = list(whole.with_name(f"{whole.name}.features").glob("*.safetensors"))
    assert len(list(cache.glob("*.safetensors"))) == len(expected)


def at_operation(number, act, counter=None):
    """From now on, `act` happens after this process's `number`-th operation on files; `counter` gets their number."""
    count, process, plain_open = [0], os.getpid(), builtins.open

    def counted(function, counts=lambda *_, **__: True):
        def wrapped(*arguments, **named):
            result = function(*arguments, **named)
            if counts(*arguments, **named) and os.getpid() == process:  # not in its workers
                count[0] += 1
                if counter:
                    with plain_open(counter, "w") as file:
                        file.write(str(count[0]))
                if count[0] == number:
                    act()
            return result

        return wrapped

    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))
    builtins.open = counted(plain_open, lambda file, mode="r", *_, **__: bool(set(mode) & set("wax+")))
