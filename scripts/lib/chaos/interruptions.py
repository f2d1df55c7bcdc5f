"""Kills, at random times and at every operation on files, and a disk that is full. The run is started again."""

import builtins
import errno
import os
import signal

from .lab import KINDS

OPERATIONS = ("replace", "rename", "remove", "unlink", "mkdir", "fsync", "rmdir", "link", "truncate")


def kills(lab, count, rng):
    """Each case: a run, killed once to three times at random times (SIGKILL), then left alone."""
    for i in range(count or 100):
        kind = list(KINDS)[i % len(KINDS)]
        yield kind, lambda kind=kind: killed(lab, kind, [rng.random() for _ in range(rng.randint(1, 3))])


def killed(lab, kind, times):
    """`times`: when, as shares of an undisturbed run's seconds."""
    (_, seconds), out = lab.whole(kind), lab.new(kind)
    for share in times:
        done = lab.start(kind, out).wait(limit=share * seconds)
        if done.left:
            return "lost", f"{done.left} processes left behind by a kill"
    return lab.ends_like(kind, out)


def files(lab, count, rng):
    """Each case: a run that is killed, or told that the disk is full, at one of its operations on files."""
    kinds = [kind for kind in KINDS if kind != "sweep"]  # a sweep's own are those of its runs
    if count:
        cases = [(rng.choice(kinds), rng.choice((die, full)), rng.random()) for _ in range(count)]
        cases = [(kind, act, 1 + int(share * operations(lab, kind))) for kind, act, share in cases]
    else:
        cases = [(k, act, n + 1) for k in kinds for act in (die, full) for n in range(operations(lab, k))]
    for kind, act, number in cases:
        what = {die: "killed", full: "disk full"}[act]
        yield f"{kind}, {what} at operation {number}", lambda case=(kind, act, number): disturbed(lab, *case)


def operations(lab, kind):
    """How many operations on files a run has."""
    counter = lab.folder / f"operations of {kind}"
    if not counter.exists():
        lab.run(kind, lab.new(kind), prepare=at_operation(0, None, counter))
    return int(counter.read_text())


def disturbed(lab, kind, act, number):
    out = lab.new(kind)
    done = lab.run(kind, out, prepare=at_operation(number, act))
    was_killed = act is die and done.code == -signal.SIGKILL
    if done.left or (done.fault and not was_killed):
        return "lost", done.fault
    return lab.ends_like(kind, out)


def at_operation(number, act, counter=None):
    """-> a function that, called in a process, makes `act` happen after its `number`-th operation; the file `counter`
    gets their number."""

    def install():
        seen, process, plain_open = [0], os.getpid(), builtins.open

        def counted(function, counts=lambda *_, **__: True):
            def wrapped(*arguments, **named):
                found = function(*arguments, **named)
                if counts(*arguments, **named) and os.getpid() == process:  # not in its workers
                    seen[0] += 1
                    if counter:
                        with plain_open(counter, "w") as file:
                            file.write(str(seen[0]))
                    if seen[0] == number:
                        act()
                return found

            return wrapped

        for name in OPERATIONS:
            setattr(os, name, counted(getattr(os, name)))
        builtins.open = counted(plain_open, lambda file, mode="r", *_, **__: bool(set(mode) & set("wax+")))

    return install


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "(a full disk)")
