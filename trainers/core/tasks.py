"""What each task evaluates, over which class names.

A task is a list of `Evaluation`s; the trainer runs them and the results go into results.json under their names.
"""
import os
from dataclasses import dataclass

from dassl.data.datasets import build_dataset

from .errors import UserError
from .randomness import derive_seed, preserved_randomness
from .results import harmonic_mean


@dataclass
class Evaluation:
    """Top-1 accuracy of `items` (Datum, labels over `classnames`). `log` is the name in the log line `* <log>: x%`.

    `of`: where the items are a fixed subset of a test set, how many that has; 0 where they are all of it.
    """

    name: str
    classnames: list
    items: list
    log: str
    of: int = 0


def new_half(cfg):
    """The dataset's new classes, as CoOp's readers give them; of its images only the test set is ever used."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASET.SUBSAMPLE_CLASSES = "new"
    with preserved_randomness():  # its few-shot draw must not change that of the base classes
        return build_dataset(cfg)


def shifted(items, by):
    """The same items with labels moved up by `by`."""
    return [type(item)(impath=item.impath, label=item.label + by, domain=item.domain, classname=item.classname) for item in items]


def fixed_subset(items, count):
    """`count` of the items, in proportion to the classes' sizes: the same ones in every run, on every machine.

    They are ordered by class, within a class by a hash of the file's name; then every len(items) / count-th is taken.
    """
    order = sorted(items, key=lambda item: (item.label, derive_seed("subset", os.path.basename(item.impath))))
    return [order[(2 * i + 1) * len(order) // (2 * count)] for i in range(count)]


def base2new(trainer):
    """Base over base names, new over new names, and all: pooled over both, among all names."""
    base, new = trainer.dataset, trainer.new_half
    base_names, new_names = list(base.classnames), list(new.classnames)
    pooled, count = base.test + shifted(new.test, len(base_names)), trainer.cfg.TEST.get("ALL_SUBSET", 0)
    of = len(pooled) if 0 < count < len(pooled) else 0
    items = fixed_subset(pooled, count) if of else pooled
    return [
        Evaluation("base", base_names, base.test, "accuracy"),
        Evaluation("new", new_names, new.test, "new_accuracy"),
        Evaluation("all", base_names + new_names, items, "all_accuracy", of),
    ]


def fewshot(trainer):
    """All classes of the dataset."""
    return [Evaluation("accuracy", list(trainer.dataset.classnames), trainer.dataset.test, "accuracy")]


TASKS = {"base2new": base2new, "fewshot": fewshot}


def evaluations(trainer):
    """The evaluations of the run's task. Raises UserError for a task that does not exist."""
    task = trainer.cfg.TASK
    if task not in TASKS:
        raise UserError(f"TASK {task} is unknown; known tasks: {', '.join(TASKS)}")
    return TASKS[task](trainer)


def summarise(metrics):
    """Adds what follows from the accuracies: H, where base and new are there."""
    if "base" in metrics and "new" in metrics:
        metrics["H"] = harmonic_mean(metrics["base"], metrics["new"])
    return metrics
