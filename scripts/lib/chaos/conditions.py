"""What the machine may be like: many processes on one cold cache, and environments that break habits."""

import os
import resource

from .lab import differing


def races(lab, count, rng):
    """Each case: eight processes (four in a short form) that need one cold cache of features at the same time."""
    for _ in range(count or 20):
        size = 8 if not count or count > 5 else 4
        yield f"{size} processes", lambda size=size: race(lab, size)


def race(lab, size):
    whole, _ = lab.whole("images")
    cache, outs = lab.new("cache"), [lab.new("images") for _ in range(size)]
    started = [lab.start("images", out, "FEATURES.DIR", cache) for out in outs]
    done = [process.wait() for process in started]
    for one, out in zip(done, outs):
        if one.fault or one.code:
            return "lost", one.fault or one.last
        if different := differing(whole, out):
            return "lost", different
    wanted = len(list((whole.with_name(f"{whole.name}.features")).glob("*.safetensors")))
    found = len(list(cache.glob("*.safetensors")))
    return ("survived", "") if found == wanted else ("lost", f"{found} files in the cache instead of {wanted}")


def limited(what, size):
    return lambda: resource.setrlimit(what, (size, size))


def closed(*numbers):
    return lambda: [os.close(number) for number in numbers]


POSIX = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
# name, more words of the command, how it is started. {out}: the folder of the run.
PLACES = {
    "a file where the folder should be": "{file}/run",
    "the folder is a file": "{file}",
    "a name that is too long": "{out}/" + "n" * 300,
    "no such file system": "/proc/nothing/run",
    "the folder of a device": "/dev/null/run",
}
ENVIRONMENTS = {
    "POSIX locale": {"fresh": POSIX},
    "WORLD_SIZE without ranks": {"fresh": {"WORLD_SIZE": "2"}},
    "RANK without a world": {"fresh": {"RANK": "1", "LOCAL_RANK": "1"}},
    # on one core, since another number of threads rounds otherwise
    "threads that are no number": {
        "fresh": {"OMP_NUM_THREADS": "many"},
        "preexec_fn": lambda: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]),
    },
    "no home": {"fresh": {"HOME": None}},
    "a home that is a file": {"fresh": {"HOME": "/dev/null"}},
    "no folder for temporary files": {"fresh": {"TMPDIR": "/nowhere"}},
    "an empty path": {"fresh": {"PATH": ""}},
    "closed output": {"fresh": {}, "preexec_fn": closed(1, 2), "stdout": None, "stderr": None, "silent": True},
    "closed input": {"fresh": {}, "preexec_fn": closed(0), "stdin": None},
    "a full device as output": {"fresh": {}, "full": True},
    "a broken pipe": {"fresh": {}, "pipe": True, "silent": True},
    "files of 100 kB at most": {"prepare": limited(resource.RLIMIT_FSIZE, 100_000)},
    "files of 4 kB at most": {"prepare": limited(resource.RLIMIT_FSIZE, 4_000)},
    "twenty open files": {"prepare": limited(resource.RLIMIT_NOFILE, 20)},
    "the folder of work is gone": {"prepare": lambda: (os.mkdir("gone"), os.chdir("gone"), os.rmdir("../gone"))},
}
WORDS = {f"seed {seed}": ["--seed", seed] for seed in ("-1", "4294967296", "99999999999999999999", "one", "1.5")}


def environment(lab, count, rng):
    """Each case: a run where something of its surroundings is wrong, then the same where nothing is."""
    cases = [(name, [], {}, place) for name, place in PLACES.items()]
    cases += [(name, [], how, "{out}") for name, how in ENVIRONMENTS.items()]
    cases += [(name, words, {}, "{out}") for name, words in WORDS.items()]
    cases = [
        (f"{name}, {kind}", kind, *rest)
        for kind in ("CoOp", "CoOp_SHIP", "images", "extraction")
        for name, *rest in cases
    ]
    cases = [case for case in cases if not (case[2] and case[1] == "extraction")]  # it has no --seed
    for name, *rest in rng.sample(cases, min(count or len(cases), len(cases))):
        yield name, lambda rest=rest: surrounded(lab, *rest)


def surrounded(lab, kind, words, how, place):
    lab.whole(kind)
    out, how = lab.new(kind), dict(how)
    file = lab.folder / "a_file"
    file.touch()
    silent = how.pop("silent", False)  # nobody could read what it says, or its reader has gone: the exit code is enough
    if how.pop("full", False):
        how["stdout"] = open("/dev/full", "w")
    reader = None
    if how.pop("pipe", False):
        reader, how["stdout"] = os.pipe()
    where = type(out)(place.format(out=out, file=file))
    process = lab.program(lab.command(kind, where, *words), out, **how)
    if reader is not None:
        os.close(reader)
        os.close(how["stdout"])
    done = process.wait()
    if done.fault and not (silent and done.code > 0):
        return "lost", done.fault
    if words and not done.code:
        return "survived", ""  # another seed gives another run, which says so
    verdict, why = lab.ends_like(kind, out)
    return ("refused", done.last) if verdict == "survived" and done.code else (verdict, why)
