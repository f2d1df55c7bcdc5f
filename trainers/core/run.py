"""A run on disk: its identity, results.json and config.yaml, resuming, starting from another run, its output folder."""

import os
import platform
import sys
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import dassl
import torch
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY

from . import checkpoints, identity
from .config import declare_options, parts_of
from .contents import content_hashes
from .files import RESULTS, UserError, hash_of, locked, names_hash, read_results, replacing, results_beside, summary
from .model.backbone import with_normalize
from .tasks import TASKS, with_options
from .version import __version__, commit

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]

# ---- identity


def options_of(cfg) -> tuple[dict, dict, list[str]]:
    """-> (the options that the run of a configuration reads, with the REVISION of each of its parts; their defaults;
    the sections below TRAINER that it reads)."""
    trainer, task = TRAINER_REGISTRY.get(cfg.TRAINER.NAME), TASKS.get(cfg.TASK)
    parts = parts_of(trainer, cfg)
    sections = list(dict.fromkeys(part.SECTION for part in parts))
    revisions = {
        f"REVISION.{getattr(kind, 'NAME', '') or method_name(kind)}": getattr(kind, "REVISION", 1)
        for kind in (trainer, *getattr(trainer, "PLUGINS", ()), *parts)
    }
    revisions[f"REVISION.{cfg.TASK}"] = getattr(task, "REVISION", 1)
    if cfg.FEATURES.VIEWS == 0 and not cfg.FEATURES.BANK:
        revisions["REVISION.augmentation"] = 2  # 1 depended on the number of workers
    default_cfg = get_cfg_default()
    declare_options(default_cfg, parts)
    defaults = {**identity.options(default_cfg, sections), **dict.fromkeys(revisions, 1)}
    return {**identity.options(cfg, sections), **revisions}, defaults, sections


def as_trained(cfg):
    """A copy of a configuration as a training run records it: with the classes that its task takes, and normalising."""
    base = {"SUBSAMPLE_CLASSES": "base"} if TASKS[cfg.TASK].takes_base_half(cfg) else {}
    cfg = with_options(cfg, **base)
    cfg.INPUT.TRANSFORMS = with_normalize(cfg.INPUT.TRANSFORMS)
    return cfg


def method_name(trainer: type) -> str:
    """The name of a trainer's method, without its plug-ins."""
    return trainer.__name__.removesuffix("".join(f"_{plugin.NAME}" for plugin in getattr(trainer, "PLUGINS", ())))


def identity_of(trainer) -> dict:
    """{name: number, text, truth or None} of a run whose data are open. The text of the prompt in force goes into the
    trainer's configuration on the way."""
    store, dataset = trainer.data.store, trainer.dataset
    trained = list(dataset.train_x) if trainer.task.real_classnames() else []
    drawn = [[store.relative(item.impath), int(item.label)] for item in trained]
    options, trainer.default_options, trainer.sections = options_of(trainer.cfg)
    templates = trainer.templates
    trainer.cfg = with_options(trainer.cfg, TEMPLATE=templates[0] if len(templates) == 1 else templates)
    return {
        **options,
        "template": " | ".join(templates),
        **content_of(dataset, trained, trainer.cfg.TASK, store),
        "fewshot": hash_of(drawn),
        "weights": trainer.backbone.weights_hash,
        "classnames": names_hash(trainer.head_classnames()),
        "split": getattr(dataset, "split_hash", ""),
    }


def content_of(dataset, trained, task, store) -> dict:
    """Hashes of images in their order, by their bytes: "content" of all that the run sees; "test_content" of those that
    no seed draws, which all seeds of a row have in common. Where a bank stands for the images, its digest, "images"."""
    if not hasattr(store, "folder"):
        return {"images": store.digest}
    seen = [*trained, *(dataset.val or []), *dataset.test]
    hashes = content_hashes([item.impath for item in seen], store.folder)
    pairs = [[store.relative(item.impath), content] for item, content in zip(seen, hashes)]
    content = {"content": hash_of(pairs)}
    if task != "leave_classes_out":
        content["test_content"] = hash_of(pairs[len(seen) - len(dataset.test) :])
    return content


# ---- results.json and config.yaml


def versions() -> dict[str, str]:
    """The software of a run, as it is now."""
    return {
        "ship": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dassl": getattr(dassl, "__version__", "unknown"),
    }


def peak_memory_mb(device):
    """Peak memory in MiB: of the GPU where there is one, else of the process."""
    if torch.device(device).type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def save_config(cfg):
    """config.yaml in the output folder: everything that the run was configured with, whoever's train.py started it."""
    if cfg.OUTPUT_DIR:
        with replacing(Path(cfg.OUTPUT_DIR) / "config.yaml") as part:
            part.write_text(cfg.dump(), encoding="utf-8")


def record(trainer, metrics, unsupported=None, subset=None):
    """What results.json holds of a finished run; `subset` names the metrics measured on a part of the test images.

    A run that starts from another one has that run's data set as `source`; where it sees no image itself, its shots.
    """
    cfg, task, dataset = trainer.cfg, trainer.task, trainer.task.dataset
    start = cfg.MODEL.INIT_WEIGHTS or next(filter(None, (plugin.source() for plugin in trainer.plugins)), "")
    source = results_beside(start) if start else {}
    extra = trainer.own_results()
    for plugin in trainer.plugins:
        extra.update(plugin.results())
    return {
        "task": cfg.TASK,
        "dataset": cfg.RUN.DATASET or cfg.DATASET.NAME,
        "trainer": cfg.TRAINER.NAME,
        "method": method_name(type(trainer)),
        "plugins": [plugin.NAME for plugin in trainer.plugins],
        "config": cfg.RUN.CONFIG,
        "seed": cfg.SEED,
        "unseeded": cfg.RUN.UNSEEDED,
        "shots": cfg.DATASET.NUM_SHOTS if task.real_classnames() else source.get("shots", cfg.DATASET.NUM_SHOTS),
        "source": source.get("dataset", ""),
        "backbone": {"name": trainer.backbone.name, "sha256": trainer.backbone.weights_hash},
        "split_hash": getattr(dataset, "split_hash", ""),
        "fewshot": getattr(dataset, "fewshot_source", ""),
        "classnames_hash": names_hash(getattr(dataset, "all_classnames", dataset.classnames)),
        "metrics": metrics,
        "unsupported": unsupported or {},
        "subset": subset or {},
        "skipped_images": len(trainer.data.store.unreadable),
        "test_images_trained_on": getattr(dataset, "test_images_trained_on", 0),
        "selection": trainer.selection,
        "temperature": trainer.temperature,
        "seconds": {name: round(value, 3) for name, value in trainer.watch.items()},
        "peak_memory_mb": peak_memory_mb(trainer.device),
        "versions": trainer.versions,
        "command": list(sys.argv),
        **trainer.origin,
        "bank": getattr(trainer.data.store, "about", None),
        "identity": trainer.identity or None,
        "extra": extra,
    }


# ---- resuming


def is_done(trainer) -> bool:
    """Whether the output folder holds this very run, finished. Raises UserError where it, or the folder RESUME, holds
    another one: before anything is written."""
    path = os.path.join(trainer.output_dir, RESULTS)
    if trainer.output_dir and os.path.exists(path):
        results = read_results(path)
        require_same(trainer, results.get("identity"), path)
        print(f"done already: {path}: {summary(results)}")
        return True
    for folder in filter(None, (trainer.output_dir, trainer.cfg.RESUME)):
        saved = [*Path(folder).glob("*/*.pth.tar"), *Path(folder).glob("*/*.pth.tar-*[0-9]")]
        for path in saved:  # the head's, a generator's; not what a killed run was about to write
            require_same(trainer, checkpoints.read(str(path)).get("identity"), path)
    return False


def require_same(trainer, recorded: dict | None, path):
    """Raises UserError, with what differs, where `recorded`, the identity that the file `path` holds, is another
    run's."""
    if not recorded:
        print(f"{path} is of a version that did not keep the options: whether they fit is not checked")
        return
    differing = identity.differences(trainer.identity, recorded, trainer.default_options, trainer.sections)
    if differing:
        cure = "Give another --output-dir; or --force, which moves what is there aside; or the options of before"
        raise UserError(f"{path} belongs to another run: {'; '.join(differing[: identity.SHOWN])}. {cure}")


# ---- the output folder


def alone_in(folder):
    """A context that has the output folder to itself; a second run there waits, and then finds what the first left."""
    if not folder:
        return nullcontext()
    path = Path(folder).absolute()
    return locked(path.with_name(f".{path.name}.lock"), f"another process is writing to {folder}; waiting for it")


def keep_older(path, own: dict):
    """Sets the results of another evaluation than `own` aside."""
    if os.path.isfile(path) and read_results(path).get("identity") != own:
        set_aside(Path(path))


def set_aside_run(folder):
    """Sets the folder of a run aside. Raises UserError where it is no run's."""
    folder = Path(folder)
    if any(folder.glob("log.txt*")):
        set_aside(folder)
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"--force moves aside what a run left, but {folder} is no run's folder (no log.txt in it)")


def set_aside(path: Path):
    """Moves a file or a folder to <path>.replaced-<n>."""
    names = (path.with_name(f"{path.name}.replaced-{number}") for number in count(1))
    target = next(name for name in names if not name.exists())
    path.rename(target)
    print(f"{path} held other results, which are now in {target}")
