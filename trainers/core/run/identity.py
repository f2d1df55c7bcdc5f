"""What makes a run this run and no other: every option that changes what comes out, and hashes of what it reads.

Checkpoints and results.json carry it, so that nothing is continued, or called done, under another one.
"""

import hashlib
import json
import os
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

from yacs.config import CfgNode

from ..errors import UserError
from ..files import sha256_of
from ..version import __version__
from .results import names_hash, source_file

# All options count but these: places, names, the machine, what is printed or kept, and whether it is evaluated.
# Of data and banks the content counts, whatever the place.
NEUTRAL = {
    *("OUTPUT_DIR", "RESUME", "VERBOSE", "USE_CUDA", "RUN.DATASET", "RUN.CONFIG", "RUN.UNSEEDED"),
    *("DATASET.ROOT", "FEATURES.BANK", "FEATURES.DIR", "DATALOADER.NUM_WORKERS"),
    *("TRAIN.PRINT_FREQ", "TRAIN.CHECKPOINT_FREQ", "TRAIN.CHECKPOINT_SECONDS"),
    *("TEST.NO_TEST", "TEST.PER_CLASS_RESULT", "TEST.COMPUTE_CMAT"),
}
FILES = ("INIT_FROM", "INIT_WEIGHTS", "NAMES", "NEW_CLASSES")  # last parts of the keys that name a file or a run
SHOWN = 5  # options that an error names


def of_run(trainer) -> dict:
    """{name: number, text, truth or None} of a run whose data are open."""
    store, dataset = trainer.data.store, trainer.dataset
    trained = list(dataset.train_x) if trainer.task.real_classnames() else []
    drawn = [[_relative(store, item.impath), int(item.label)] for item in trained]
    return {
        **options(trainer.cfg),
        "images": getattr(store, "digest", "") or _sizes([*trained, *(dataset.val or []), *dataset.test], store),
        "fewshot": _hash(drawn),
        "weights": trainer.backbone.weights_hash,
        "classnames": names_hash(trainer.head_classnames()),
        "split": getattr(dataset, "split_hash", ""),
        "version": __version__,
    }


def options(cfg) -> dict:
    """The options that count, by dotted key; a file, or the checkpoints of a run, by a hash of its content."""
    found = {}
    for key, value in leaves(cfg):
        if key in NEUTRAL:
            continue
        if key.rpartition(".")[2] in FILES and value:
            value = fingerprint(value)
        plain = value is None or isinstance(value, (bool, int, float, str))
        found[key] = value if plain else json.dumps(value, default=str)
    return found


def leaves(node, prefix=""):
    """(dotted key, value) of all options below a config node."""
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def texts(cfg) -> list:
    """The files that options name: lists of names, and results.json of the runs that this one starts from."""
    named = [(key.rpartition(".")[2], value) for key, value in leaves(cfg) if value]
    found = [source_file(value) if key.startswith("INIT_") else value for key, value in named if key in FILES]
    return [file for file in found if file]


def fingerprint(path: str) -> str:
    """A hash of a file, or of the checkpoints in and below the folder of a run; `path` itself where there is none."""
    if os.path.isfile(path):
        return _hash(_content(path))
    found = sorted(file for pattern in ("*.pth.tar*", "*/*.pth.tar*") for file in Path(path).glob(pattern))
    files = [file for file in found if file.is_file()]  # to open a pipe would wait for ever
    return _hash([[str(file.relative_to(path)), _content(file)] for file in files]) if files else str(path)


def require_same(own: dict, found, where: str):
    """Raises UserError, with what differs, where `found`, the identity that `where` holds, is another run's. An option
    that only one of them knows is not compared: a module that is new brings its own."""
    if not found:
        print(f"{where} is of an earlier version, which did not keep the options: whether they fit is not checked")
        return
    if not isinstance(found, dict):
        raise UserError(f"{where} is damaged: its identity is a {type(found).__name__}; add --force to train anew")
    differing = [key for key in own if key in found and found[key] != own[key]]
    if differing:
        shown = "; ".join(f"{key} was {_short(found[key])}, is now {_short(own[key])}" for key in differing[:SHOWN])
        more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise UserError(
            f"{where} belongs to another run: {shown}{more}. Give another --output-dir; or --force, which moves what "
            "is there aside and trains anew; or the options of before, to go on"
        )


def _sizes(items, store):
    """Hash of the images in their order, and of the sizes of their files."""
    return _hash([[_relative(store, item.impath), _size(item.impath)] for item in items])


def _relative(store, path):
    return store.relative(path) if hasattr(store, "relative") else path


def _size(path):
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # whoever reads the image will say so


def _content(path):
    """What stands for a file's content. An archive, as a checkpoint is, keeps checksums of its parts: none is read."""
    with suppress(zipfile.BadZipFile, struct.error, NotImplementedError, EOFError, ValueError):  # a damaged one
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return [[part.filename.partition("/")[2], part.CRC, part.file_size] for part in archive.infolist()]
    return sha256_of(path)


def _hash(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _short(value):
    text = str(value)
    return repr(text if len(text) <= 60 else f"{text[:57]}...") if isinstance(value, str) else text
