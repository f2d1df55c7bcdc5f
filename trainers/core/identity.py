"""What makes a run this run and no other: the options that it reads, and hashes of the data that it reads.

Checkpoints and results.json carry it; resuming, the launcher and the report compare it here. Nothing needs PyTorch.
Version and commit of the code are recorded elsewhere and not compared: a change that moves the figures of a method, a
plug-in or a task raises its REVISION, which is part of the identity.
"""

import json
import zipfile
from pathlib import Path

from .files import hash_of, sha256_of

# The options that every trainer reads; "X." stands for all below X. What is not here (places, workers, test batches,
# printing) cannot change a result. Data and banks count by their content, whatever the place.
READ = (
    *("SEED", "TASK", "DATASET.", "INPUT.", "OPTIM.", "FEATURES.", "DATALOADER.TRAIN_X.", "TRAINER.NAME"),
    *("MODEL.INIT_WEIGHTS", "MODEL.BACKBONE.NAME", "TEST.FINAL_MODEL", "TEST.ALL_SUBSET"),
)
NEUTRAL = ("DATASET.ROOT", "FEATURES.BANK", "FEATURES.DIR")
# Beside the options: hashes of the data, the text of the hand-written prompt, the REVISION of each part of the run.
TEMPLATE = "template"
FILES = ("INIT_FROM", "INIT_WEIGHTS", "NAMES", "NEW_CLASSES")  # last parts of the keys that name a file or a run
# Last parts of the keys of options that are gone, with the value at which they did nothing. Where another method still
# has an option of that name, all of its runs have a value, and none is taken for gone.
REMOVED = {"EPISODES": False, "BASE_SHARE": 0.0, "MATCH": "none"}
REMOVED |= {"ALPHA": 1.0, "NEIGHBOURS": 64, "TEXTS": 16, "LISTS": "datasets"}
SHOWN = 5  # options that an error names


def is_read(key: str, sections) -> bool:
    """Whether a trainer with these sections under TRAINER (its method's, its plug-ins') reads the option `key`."""
    if key in NEUTRAL:
        return False
    own = tuple(f"TRAINER.{section}." for section in sections)
    return key in READ or key.startswith(own + tuple(name for name in READ if name.endswith(".")))


def options(cfg, sections) -> dict:
    """{dotted key: number, text, truth or None} of the options that count. A file, or the checkpoints of a run, counts
    by a hash of its content."""
    counted = {}
    for key, value in leaves(cfg):
        if is_read(key, sections):
            is_file = key.rpartition(".")[2] in FILES and value
            counted[key] = fingerprint(value) if is_file else as_recorded(value)
    return counted


def as_recorded(value):
    """The value of an option as JSON and checkpoints keep it."""
    is_plain = value is None or isinstance(value, (bool, int, float, str))
    return value if is_plain else json.dumps(value, default=str)


def leaves(node, prefix=""):
    """(dotted key, value) of all options below a node of the configuration."""
    for key, value in node.items():
        if isinstance(value, dict):  # a CfgNode is one
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differences(own: dict, recorded: dict, defaults: dict, sections) -> list[str]:
    """What tells the identity `own` from a `recorded` one, a phrase each; [] for the same run.

    A key that only this version knows is compared with its default. One that only the other version knows, and that
    this trainer would read, has to be a removed option without effect.
    """
    differing = []
    for key, value in own.items():
        before = recorded.get(key, defaults.get(key, value))
        if key == "DATASET.TEMPLATE" and value == recorded.get(TEMPLATE):
            continue  # config.yaml has the text in force, also where none was asked for
        if before != value:
            differing.append(f"{key} was {before!r}, is now {value!r}")
    for key, value in recorded.items():
        gone = key not in own and is_read(key, sections)
        if gone and not is_idle(key, value):
            differing.append(f"{key} was {value!r}, and this version has no such option")
    return differing


def is_idle(key: str, value) -> bool:
    """Whether a recorded option is one that is gone, and did nothing."""
    name = key.rpartition(".")[2]
    return name in REMOVED and value == REMOVED[name]


def fingerprint(path: str) -> str:
    """A hash of a file, or of the checkpoints in and below the folder of a run; `path` itself where there is none."""
    if Path(path).is_file():
        return hash_of(_content(path))
    paths = sorted([*Path(path).glob("*.pth.tar*"), *Path(path).glob("*/*.pth.tar*")])
    return hash_of([[str(file.relative_to(path)), _content(file)] for file in paths]) if paths else str(path)


def _content(path):
    """What stands for a file's content. An archive, as a checkpoint is, keeps checksums of its parts: none is read."""
    if not zipfile.is_zipfile(path):
        return sha256_of(path)
    with zipfile.ZipFile(path) as archive:
        return [[part.filename.partition("/")[2], part.CRC, part.file_size] for part in archive.infolist()]
