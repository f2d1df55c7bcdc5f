"""Whether a run that has results is the run that is wanted now. No PyTorch: hundreds of runs are judged at once.

results.json says which command, texts and bank made it. Older ones do not; they count as done.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .run import ROOT, Place, Run, UserError, read_results

DONE, STALE, OPEN = "done", "stale", "open"
FILES = ("--config-file", "--dataset-config-file")  # compared by their content
PLACES = {"--output-dir", "--force", "--resume", "FEATURES.BANK", "RUN.DATASET", "RUN.CONFIG"}  # not compared as words
ALONE = ("--force", "--eval-only", "--no-train", "--print-config")  # flags without a value


@dataclass(frozen=True)
class Verdict:
    state: str
    why: str = ""  # one line


def judge(run: Run, place: Place) -> Verdict:
    """done; stale, where its results are another run's, with what differs; or open, where there are none."""
    path = run.results(place)
    if not path.exists():
        return Verdict(OPEN)
    try:
        found = read_results(path)
    except UserError as error:
        return Verdict(STALE, str(error))
    if "command" not in found:
        return Verdict(DONE, "made by an earlier version, which did not keep its command: not compared")
    try:
        why = _edited(found) or _words(found, run, place) or _texts(found, run, place) or _bank(found, run, place)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"{path} is damaged ({type(error).__name__}: {error})"
    return Verdict(STALE, why) if why else Verdict(DONE)


def digest_of(record: dict) -> str:
    """sha256 of what a results.json holds, its own digest left out; as trainers/core/run/results.py writes it."""
    rest = {key: value for key, value in record.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _edited(found):
    return "" if found.get("digest") == digest_of(found) else "results.json was edited after it was written"


def _words(found, run, place):
    """The options that differ. One that the older command left to a file counts as given where it had that value."""
    before, now = _given(found["command"]), _given(run.command(place))
    for key in (*now, *(key for key in before if key not in now)):
        same = before.get(key) == now.get(key) or key in now and now[key] == str(found["identity"].get(key))
        if not same and key not in PLACES and not (run.source and key in run.start):
            return f"{key} was {_shown(before, key)}, is now {_shown(now, key)}"
    files = [found["command"], run.command(place)]
    old, new = ([words[i + 1] for i, word in enumerate(words[:-1]) if word in FILES] for words in files)
    if len(old) != len(new) or not all(Path(a).as_posix().endswith(b) for a, b in zip(sorted(old), sorted(new))):
        return f"the configuration files were {' '.join(old)}, are now {' '.join(new)}"
    return ""


def _given(words):
    """{flag or KEY: value} of a train.py command, configuration files left out; a later one wins."""
    found, rest = {}, iter(words[1:])
    for word in rest:
        key, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not equals and key not in ALONE:
            value = next(rest, "")
        if key not in FILES:
            found[key] = value
    return found


def _shown(words, key):
    return repr(words[key]) if key in words else "not given"


def _texts(found, run, place):
    """The configuration files, lists of names and results of a source that have changed."""
    for name, digest in found["inputs"].items():
        path = ROOT / name
        if run.source and Path(name).parts[-7:] == run.source.results(place).parts[-7:]:
            path = run.source.results(place)  # the folder of all runs may have been moved
        if not path.is_file():
            return f"{name}, which it was made with, is gone"
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return f"{name} has changed since it was made"
    return ""


def _bank(found, run, place):
    """The bank where it has another content, however it is called."""
    bank, before, now = found["bank"], _given(found["command"]), _given(run.command(place))
    if not bank or "--root" in now:
        return ""  # that one had a bank and the other has none, was found by the words
    path = Path(bank["path"])
    if before.get("FEATURES.BANK") != now.get("FEATURES.BANK"):
        backbone = found["backbone"]["name"].lower().replace("/", "-")
        shipped = ROOT / "datasets" / "banks" / f"{run.dataset}_{backbone}.safetensors"
        path = Path(now["FEATURES.BANK"]) if "FEATURES.BANK" in now else shipped
    path = ROOT / path
    if not path.is_file():
        return f"the bank {path} is gone"
    state = os.stat(path)
    if path == Path(bank["path"]) and (state.st_size, state.st_mtime_ns) == (bank["size"], bank["mtime_ns"]):
        return ""
    return "" if _bank_digest(path) == bank["sha256"] else f"the bank {path} is another one than it was made with"


def _bank_digest(path):
    """The digest in a bank's header, which is verified when a run loads it; "" where it has none."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > os.path.getsize(path):
            return ""
        header = json.loads(file.read(length)).get("__metadata__", {})
    return header.get("header_digest", header.get("digest", ""))
