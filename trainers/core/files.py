"""The bottom of the code: errors for users, digests, atomic writes, a lock, results.json, lists of names.

Nothing here needs PyTorch or imports another part of ours, so scripts and readers use it in milliseconds.
"""

import difflib
import hashlib
import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

try:
    from dassl.utils.errors import UserError
except ImportError:  # an upstream dassl has no such class

    class UserError(Exception):  # type: ignore[no-redef]
        """An error of the user's input: the message says what was expected, what was found and what to type."""


RESULTS = "results.json"  # a run is done if and only if it exists: it is written last and atomically
BLOCK = 1 << 20  # bytes read at a time
EXPECTED = "it must be a text file (UTF-8) with a name a line"


class ClassesUnsupported(UserError):
    """A trained head cannot be applied to other class names; the message says why."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """`known`, the ones spelt most like `name` first."""
    words = str(name).lower()
    return sorted(known, key=lambda other: -difflib.SequenceMatcher(None, words, str(other).lower()).ratio())


def first_five(names: Iterable[str]) -> str:
    """The first five names, for a message."""
    names = list(names)
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"


# ---- digests


def sha256_of(path: str | Path) -> str:
    """sha256 of a file, in hexadecimal."""
    return file_digest(path, hashlib.sha256())


def file_digest(path: str | Path, digest) -> str:
    """What `digest`, a new object of hashlib, makes of a file, in hexadecimal."""
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def verified_sha256(path: str | Path) -> str:
    """sha256 of a file. Raises UserError where a file `path`.sha256 beside it, as `sha256sum` writes it, says
    another."""
    beside, digest = Path(f"{path}.sha256"), sha256_of(path)
    if beside.is_file() and beside.read_text().split()[:1] != [digest]:
        raise UserError(f"{path} is damaged: its sha256 is {digest}, but {beside} says another. Get the file again")
    return digest


def hash_of(value) -> str:
    """16 hex digits that stand for any JSON value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


# ---- writing


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """The path of a new file, which takes the place of `path` at the end of the block: whole, or not at all. A digest
    beside the old file goes."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        Path(f"{path}.sha256").unlink(missing_ok=True)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def locked(path: str | Path, waiting: str) -> Iterator[None]:
    """Holds the lock file `path`; prints `waiting` first where another process has it. The system frees the lock of a
    process that died. On a file system without locks there is none, and work may be done twice."""
    from filelock import FileLock, Timeout  # not at the top: --help is shown before anything is installed

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    with suppress(NotImplementedError):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(waiting, flush=True)
            lock.acquire()
    try:
        yield
    finally:
        Path(path).unlink(missing_ok=True)  # while it is still held: who waits notices it, and takes a new one
        lock.release()


# ---- configuration files


def config_files(root: str | Path, trainer: str, cfg: str) -> list[str]:
    """The files of a configuration, from the folder `root` that holds configs/: that of the longest prefix of the
    trainer's name which has one, then those of the remaining plug-ins. A trainer whose method has no files at all, as
    one that was dropped in, takes configs/base/<cfg>.yaml. [] where there is no such configuration."""

    def file_of(folder: str, name: str) -> list[str]:
        path = f"configs/{folder}/{name}.yaml"
        return [path] if Path(root, path).is_file() else []

    own = file_of(f"trainers/{trainer}", cfg)
    method, _, plugin = trainer.rpartition("_")
    if own or Path(root, "configs/trainers", trainer).is_dir() and not Path(root, "configs/plugins", plugin).is_dir():
        return own  # [] for a method of its own which lacks this file, whatever its name begins with
    if not method:
        return file_of("base", cfg)
    files, profile = config_files(root, method, cfg), partial(file_of, f"plugins/{plugin}")
    return files and files + profile(longest(cfg, profile))


def longest(cfg: str, files_of: Callable[[str], list]) -> str:
    """The longest beginning of a name that has files: vit_b16_ctxv1 -> vit_b16; "" if none has."""
    while cfg and not files_of(cfg):
        cfg = cfg.rpartition("_")[0]
    return cfg


# ---- results.json


def digest_of(record: dict) -> str:
    """sha256 of what a results.json holds, its own digest left out."""
    rest = {key: value for key, value in record.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def write_results(path: str | Path, record: dict):
    """Writes `record` as JSON with its digest, atomically."""
    record = json.loads(json.dumps(record), parse_constant=lambda name: None)  # JSON has no NaN
    text = json.dumps({**record, "digest": digest_of(record)}, indent=1, allow_nan=False) + "\n"
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def read_results(path: str | Path) -> dict:
    """A results.json. Raises UserError where it is damaged, or was changed since it was written; those of the first
    versions have no digest that would show it."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(record, dict) or not isinstance(record.get("metrics"), dict):
            raise ValueError("no table of metrics")
        if "digest" in record and record["digest"] != digest_of(record):
            raise ValueError("it does not match its digest: it was edited")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it, and the run is evaluated again") from None
    return record


def results_beside(path: str | Path) -> dict:
    """results.json of the run that the folder or checkpoint `path` belongs to; {} where there is none, as of stock
    CoOp's. Raises UserError where it is damaged."""
    path = Path(os.path.realpath(path))
    files = [folder / RESULTS for folder in (path, *path.parents[:2])]
    return next((read_results(file) for file in files if file.is_file()), {})


def summary(record: dict) -> str:
    """base 83.3, new 53.7, H 65.3"""
    numbers = {name: value for name, value in record["metrics"].items() if type(value) in (int, float)}
    return ", ".join(f"{name} {value:.1f}" for name, value in numbers.items())


# ---- names of classes


def plain(name: str) -> str:
    """What a prompt makes of a name: underscores, case, and how a character is composed do not matter to it."""
    return " ".join(unicodedata.normalize("NFKC", name).replace("_", " ").casefold().split())


def names_hash(classnames: Iterable[str]) -> str:
    """12 hex digits that stand for these class names in this order."""
    return hashlib.sha256("\n".join(classnames).encode()).hexdigest()[:12]


def read_names(path: str | Path, key: str) -> list[str]:
    """The names in a text file with a name a line; lines that are empty or begin with # are none. Raises UserError that
    names the option `key`."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{key} {path} cannot be read ({error}); {EXPECTED}") from None
    lines = [line.strip() for line in text.split("\n")]
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise UserError(f"{key} {path} holds no name; {EXPECTED}")
    return names


def require_different(names: Iterable[str], known: Iterable[str], where: str):
    """Raises UserError where two of `names`, or one of them and a `known` class, mean the same class."""
    seen = {plain(name): f"the class '{name}'" for name in known}
    for name in names:
        if plain(name) in seen:
            raise UserError(f"{where}: '{name}' repeats {seen[plain(name)]}")
        seen[plain(name)] = f"'{name}'"


def find_positions(wanted: Iterable[str], known: Iterable[str]) -> tuple[list[int], list[str]]:
    """Where the names `wanted` stand in `known` -> (positions, the names that do not).

    A name that is there twice stands for each of its places in turn, so equal names are told apart by their order.
    """
    places: dict[str, list[int]] = {}
    for i, name in enumerate(known):
        places.setdefault(name, []).append(i)
    found = [(name, places[name].pop(0) if places.get(name) else None) for name in wanted]
    return [i for _, i in found if i is not None], [name for name, i in found if i is None]
