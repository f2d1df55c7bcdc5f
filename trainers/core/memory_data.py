"""Labelled images that a program hands over, as a data set and as tasks, in the place of a reader."""

import os
import random
import warnings
from collections import Counter
from types import SimpleNamespace

import torch
from dassl.data.datasets.base_dataset import DatasetBase, Datum

from . import memory, metrics
from .data import Store
from .files import UserError, hash_of, names_hash, read_names, require_different
from .folders import list_images, read_layout
from .images import FeatureData, draw
from .predictor import Stopwatch
from .process import ONE_AT_A_TIME, quiet
from .randomness import derive_seed, seed_all
from .tasks import LeaveClassesOut, Task

NAME = "Images"  # DATASET.NAME of such a data set
NO_TEST = "all images are trained on; figures come from cross-validation"
UNEQUAL = 5  # times as many images in one class as in another


class MemoryDataset(DatasetBase):
    """Labelled images to train on, and none to test on. `new_names` have no image."""

    no_test, template, image_dir, fewshot_source = NO_TEST, None, "", ""

    def __init__(self, items: list[Datum], new_names: list[str], shots: int, seed: int):
        """`shots` images per class are drawn by `seed`; all are taken where it is below 1."""
        drawn = draw(items, shots, random.Random(derive_seed(seed, "shots"))) if shots >= 1 else items
        super().__init__(train_x=drawn, val=[], test=[])
        taken = {id(item) for item in drawn}
        self.unused_train = [item for item in items if id(item) not in taken]
        self.all_classnames, self.items = self.classnames, items
        labels = [(item.impath, item.label) for item in items]
        self.split_hash = hash_of([labels, names_hash([*self.classnames, "", *new_names])])


class MemoryTask(Task):
    """All classes with images, beside names without."""

    def __init__(self, cfg, dataset: MemoryDataset, new_names: list[str]):
        self.cfg, self.dataset, self.new_names = cfg, dataset, new_names

    def label_only_classnames(self):
        return list(self.new_names)


class Fold(LeaveClassesOut):
    """A fold of leave_out.py over such a data set."""

    def __init__(self, cfg, dataset: MemoryDataset):
        self.cfg = cfg
        self.dataset = self.fold(dataset, SimpleNamespace(train_x=dataset.items, val=[], test=[]))


# ---- from images and labels


def listed(names, key):
    """A list of names, or the names in a text file."""
    if isinstance(names, (str, os.PathLike)):
        return read_names(os.fspath(names), key)
    names = list(names)
    wrong = [name for name in names if not isinstance(name, str) or not name.strip()]
    if wrong:
        raise UserError(f"{key}: expected class names, found {wrong[0]!r}")
    return names


def from_folder(folder, parts):
    """-> (paths, class names) of the images in the first of `parts` that the folder has; with train/ also of val/."""
    if not isinstance(folder, (str, os.PathLike)) or not os.path.isdir(folder):
        raise UserError("without labels, images must be one folder that has a folder of images per class")
    top = os.fspath(folder)
    found = read_layout(top)
    part = next(part for part in parts if part in found)
    paths, labels = [], []
    for kind in (part, "val") if part == "train" else (part,):
        for name, place in found.get(kind, {}).items():
            images = [os.path.join(top, place, image) for image in list_images(os.path.join(top, place))]
            paths += images
            labels += [name] * len(images)
    return paths, labels


def from_user(trainer, images, labels, new_names, skip_bad_images) -> tuple[MemoryTask, Store]:
    """The task and the store of what a user gave to train on; of images those that can be read. Raises UserError."""
    if labels is None:
        images, labels = from_folder(images, ("train", ""))
    labels, (keys, store) = listed(labels, "labels"), memory.store_of(trainer, images)
    if len(keys) != len(labels) or not labels:
        raise UserError(f"{len(keys)} images and {len(labels)} labels: each image needs one, a class name")
    names = sorted({*labels})
    require_different(names, (), "labels")
    require_different(new_names, names, "new_names")
    if len(names) + len(new_names) < 2:
        raise UserError(f"there is one class only, {labels[0]}: nothing to tell it from")
    place = {name: i for i, name in enumerate(names)}
    items = [Datum(impath=key, label=place[label], classname=label) for key, label in zip(keys, labels)]
    dataset = readable(items, new_names, trainer.cfg, store, skip_bad_images)
    counts = Counter(item.classname for item in dataset.train_x)
    if max(counts.values()) > UNEQUAL * min(counts.values()):
        shown = ", ".join(f"{name} {number}" for name, number in counts.most_common())
        warnings.warn(f"classes of very different sizes, of which the large ones are favoured: {shown}", stacklevel=3)
    return MemoryTask(trainer.cfg, dataset, new_names), store


def readable(items, new_names, cfg, store, skip_bad_images) -> MemoryDataset:
    """The data set of the images that can be read. Raises UserError that names the others, unless they may be skipped;
    and where a class would have none."""
    dataset = MemoryDataset(items, new_names, cfg.DATASET.NUM_SHOTS, cfg.SEED)
    store.training_views(dataset.train_x)
    bad = sorted({item.impath for item in items} & store.unreadable)
    if not bad:
        return dataset
    if not skip_bad_images:
        reasons = "; ".join(store.faults[key] for key in bad[:5])
        raise UserError(f"{len(bad)} images cannot be read: {reasons}. Replace them, or set skip_bad_images=True")
    warnings.warn(f"{len(bad)} images cannot be read and are left out: {', '.join(bad[:5])}", stacklevel=4)
    good = [item for item in items if item.impath not in store.unreadable]
    lost = sorted({item.classname for item in items} - {item.classname for item in good})
    if lost:
        raise UserError(f"no image can be read of {', '.join(lost)}")
    return readable(good, new_names, cfg, store, skip_bad_images)


def features_of(trainer, keys, store) -> torch.Tensor:
    """Unit features [N, d], on the trainer's device, of the images that can be read; `store.faults` has the others."""
    if hasattr(trainer.head, "encode_image"):
        store.encode_image = trainer.encode_image
    with ONE_AT_A_TIME, quiet():
        features = store.plain_views([Datum(impath=key) for key in keys]).features
    return features.to(trainer.device, torch.float32)


# ---- folds


def figures_of_fold(trainer, kind, number: int, store) -> tuple[dict[str, float], list[tuple[str, str, str, bool]]]:
    """A fold of leave_out.py by the trainer class `kind`, with the data and backbone of `trainer` -> (its metrics, and
    among all names (path, class, answer, whether the class had images) of each image that judges)."""
    cfg = trainer.cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR, cfg.TASK, cfg.TRAINER.NAME, cfg.DATASET.FOLD = "", "leave_classes_out", kind.__name__, number
    cfg.TEST.NO_TEST = True  # of what `train` does; its figures are asked for here
    cfg.freeze()
    task, fold = Fold(cfg, trainer.host.task.dataset), kind.__new__(kind)
    fold.host = SimpleNamespace(task=task, backbone=trainer.backbone, watch=Stopwatch(), hides_bars=True)
    fold.__init__(cfg)
    fold.host.data = FeatureData(fold, task, store)
    seed_all(cfg.SEED, "fold", number)
    fold.train()
    figures = metrics.evaluate(fold)[0]
    if fold.decisions is None:
        raise UserError(f"{kind.__name__} has no head over classes with images and classes without")
    evaluation, answers, labels = fold.decisions
    names = evaluation.classnames
    rows = zip(evaluation.items, labels.tolist(), answers.tolist(), strict=True)
    return figures, [(item.impath, names[i], names[answer], i < evaluation.border) for item, i, answer in rows]
