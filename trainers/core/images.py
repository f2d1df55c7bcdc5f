"""The images of a run, by what they are for, and their features."""

import os
import random
from copy import copy
from functools import cached_property

import torch

from .bank import BankStore
from .data import VIEWS_BESIDE_IMAGES, FeatureSet
from .extraction import ImageStore
from .files import UserError
from .randomness import derive_seed

PER_CLASS = 4  # at most; CoOp's few-shot validation has min(shots, 4) as well


def val_is_test(dataset):
    """Whether the validation items of a dataset are its test items, as in stock CoOp's ImageNet reader."""
    test = {item.impath for item in dataset.test}
    return any(item.impath in test for item in dataset.val or ())


def held_out(left_over, shots, seed):
    """min(shots, 4) Datum of each class of the training images left over by the few-shot draw, with its own
    generator."""
    per_class = min(shots, PER_CLASS) if shots >= 1 else PER_CLASS
    return draw(left_over, per_class, random.Random(derive_seed(seed, "held-out")))


class FeatureData:
    """Features of a task's images, on `device` in fp32; each set is encoded when it is first asked for. They come from
    the bank FEATURES.BANK, or from images through the cache in FEATURES.DIR."""

    def __init__(self, trainer, task, store=None):
        """`store` gives features in their place."""
        self.cfg, self.task, self.device, self.watch = trainer.cfg, task, trainer.device, trainer.watch
        self.dataset, backbone, bank = task.dataset, trainer.backbone, trainer.cfg.FEATURES.BANK
        if store is None and bank:
            store = BankStore(bank, backbone, self.cfg.FEATURES.VIEWS or VIEWS_BESIDE_IMAGES)
        image_dir = getattr(self.dataset, "image_dir", getattr(self.dataset, "dataset_dir", ""))
        self.store = store or ImageStore(self.cfg, backbone, image_dir)

    def encode_with(self, encode_image):
        """From here on images go through `encode_image(images)`, an image tower that a method tunes, as it now is: what
        was encoded before is forgotten."""
        self.store = copy(self.store)  # others go on with the frozen tower
        self.store.encode_image, self.store.tables = encode_image, {}
        for encoded in ("train_set", "val_set"):
            self.__dict__.pop(encoded, None)

    @cached_property
    def train_set(self) -> FeatureSet:
        """The labelled training images, with their random views; evaluation alone never needs them."""
        if not self.task.real_classnames():
            raise UserError(f"TASK {self.cfg.TASK} has no training images: set MODEL.INIT_WEIGHTS to a source run")
        with self.watch.stage("features"):
            images = self._here(self.dataset.train_x, self.store.training_views(self.dataset.train_x))
        wanted = self.store.views
        fewer = int((images.views < wanted).sum())
        note = f"; {fewer} images have fewer than {wanted} views and use what they have" if fewer else ""
        print(f"features: {len(images)} training images, {int(images.views.sum())} views{note}")
        return images

    @cached_property
    def val_set(self) -> FeatureSet | None:
        """The few-shot validation images of the trained classes; None where the dataset exposes none (but its test
        images)."""
        if val_is_test(self.dataset):
            print(f"{type(self.dataset).__name__} gives its test images as validation images: they are not used")
            return None
        return self.plain(self.dataset.val) if self.dataset.val else None

    @property
    def left_over(self) -> list:
        """The training images (Datum) that the few-shot draw left over, where the dataset exposes them."""
        return getattr(self.dataset, "unused_train", None) or []

    @property
    def leaves_out(self) -> bool:
        """Whether there are images for search_set()."""
        return self.val_set is not None or bool(self.left_over)

    def search_set(self) -> tuple[FeatureSet, str]:
        """Real images of the trained classes to choose hyper-parameters on, and what they are: few-shot validation,
        else a held-out draw of training images. Raises UserError where the dataset has neither."""
        classes = "base classes" if self.task.subset == "base" else "all classes"
        if self.val_set is not None:
            return self.val_set, f"few-shot validation of {classes}"
        if not self.left_over:
            raise UserError(
                f"{type(self.dataset).__name__} has no validation images, and of the training images all were drawn: "
                "switch the method's search off"
            )
        items = held_out(self.left_over, self.cfg.DATASET.NUM_SHOTS, self.cfg.SEED)
        return self.plain(items), f"held-out training images of {classes}"

    def plain(self, items: list) -> FeatureSet:
        """`items` (Datum) in their plain view."""
        return self._here(items, self.store.plain_views(items))

    def _here(self, items, images):
        """The features of `items` on the device."""
        if not len(images):
            raise UserError(f"{self.cfg.DATASET.NAME}: no readable image among {len(items)}")
        if len(images) < len(items):
            print(f"{len(items) - len(images)} of {len(items)} images cannot be read and are left out")
        return images.to(self.device, torch.float32)


# ---- lists of images: some of each class, with other labels, and the same part of them in every run


def by_label(items):
    """{label: [items]}, in the order of labels."""
    groups: dict[int, list] = {}
    for item in sorted(items, key=lambda item: item.label):
        groups.setdefault(item.label, []).append(item)
    return groups


def draw(items, per_class, generator):
    """So many of each class, or all where it has fewer, class after class."""
    groups = by_label(items).values()
    return [item for group in groups for item in generator.sample(group, min(per_class, len(group)))]


def relabelled(items, label_of):
    """The same items with the labels `label_of(item)`."""
    return [
        type(item)(impath=item.impath, label=label_of(item), domain=item.domain, classname=item.classname)
        for item in items
    ]


def fixed_subset(items, count):
    """`count` of the items, in proportion to the classes' sizes: the same ones in every run, on every machine; all of
    fewer.

    They are ordered by class, within a class by a hash of the file's name; then every len(items) / count-th is taken.
    """
    if len(items) <= count:
        return items
    order = sorted(items, key=lambda item: (item.label, derive_seed("subset", os.path.basename(item.impath))))
    return [order[(2 * i + 1) * len(order) // (2 * count)] for i in range(count)]
