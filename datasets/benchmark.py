"""The base of all readers: finds the data, loads the split, draws the few-shot images, picks base or new classes.

The way through `__init__`: split (of a file, of folders, or of a bank's header) -> few-shot selection -> base/new -> lists of Datum.
A reader states its folders and, where CoOp's split file may be missing, how to make the split (`make_split`).
"""

import os
import random

from dassl.data.datasets import DatasetBase
from dassl.utils import UserError

from . import fewshot
from .bank import read_bank_split
from .files import list_folders, list_images, require_writable
from .splits import (Item, check_split, class_names, missing_files, read_split, split_classes, split_hash, split_trainval, subsample,
                     write_split)

SPLIT_SEED = 0  # of splits made here; fixed, so that every run, seed and machine makes the same one


class Benchmark(DatasetBase):
    """One dataset in CoOp's layout.

    After construction: train_x, val, test (lists of Datum), classnames, all_classnames, image_dir ('' with a bank), split_hash, template,
    fewshot_source. Raises UserError for missing or unusable data.
    """

    dataset_dir = ""  # below DATASET.ROOT
    image_folder = ""  # below dataset_dir; paths of the split are relative to it
    split_file = ""  # below dataset_dir; '' for datasets that have none
    template = "a photo of a {}."

    def __init__(self, cfg):
        subset = cfg.DATASET.get("SUBSAMPLE_CLASSES", "all")
        self.template = check_template(cfg.DATASET.get("TEMPLATE", "") or self.template)
        bank = cfg.get("FEATURES", {}).get("BANK", "")
        if bank:
            self.dataset_dir = self.image_dir = ""
            split = read_bank_split(bank, type(self).__name__)
        else:
            if not cfg.DATASET.ROOT:
                raise UserError("DATASET.ROOT (--root) is not set: the folder that holds the datasets' folders")
            self.root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
            self.dataset_dir = os.path.normpath(os.path.join(self.root, self.dataset_dir))
            self.image_dir = os.path.normpath(os.path.join(self.dataset_dir, self.image_folder))
            split = self.load_split()
        self.split_hash = split_hash(split)
        self.all_classnames = class_names(split)
        self.fewshot_source = "all training images"
        if cfg.DATASET.NUM_SHOTS >= 1:
            split = self.select_fewshot(split, cfg.DATASET.NUM_SHOTS, cfg.SEED)
        split = subsample(split, subset)
        train, val, test = (fewshot.to_datums(part, self.image_dir) for part in split)
        super().__init__(train_x=train, val=val, test=test)

    def load_split(self):
        """Split of the dataset's split file; without one it is made and, where the folder can be written to, kept."""
        self.require(self.image_dir)
        path = os.path.join(self.dataset_dir, self.split_file)
        if os.path.exists(path):
            print(f"Reading split from {path}")
            split = read_split(path)
            self.require_images(split, path)
            return split
        split = check_split(self.make_split()._asdict(), self.image_dir)
        self.require_images(split, f"the annotation in {self.dataset_dir}")
        try:
            require_writable(self.dataset_dir)
            write_split(split, path)
            print(f"{self.split_file} was missing: made a split of {self.image_dir} (seed {SPLIT_SEED}) and saved it to {path}")
        except OSError as error:
            print(f"{self.split_file} was missing: made a split of {self.image_dir} (seed {SPLIT_SEED}), which could not be saved "
                  f"({error.strerror}); later runs make the same one while the images stay the same")
        return split

    def make_split(self):
        """Split for a dataset whose split file is missing, made as CoOp makes it but with a seed of its own."""
        raise UserError(f"expected the split file {os.path.join(self.dataset_dir, self.split_file)}.{self.how_to_get()}")

    def select_fewshot(self, split, shots, seed):
        """`split` with train and val cut to a few-shot selection: the user's pickle, else the shared list, else a draw."""
        small = fewshot.small_classes(split, shots)
        if small:
            print(f"{len(small)} of {len(self.all_classnames)} classes have fewer than {shots} training images and keep all of theirs: "
                  f"{', '.join(small[:5])}{', ...' if len(small) > 5 else ''}")
        path = fewshot.pickle_path(self.dataset_dir, shots, seed) if self.dataset_dir else ""
        if path and seed >= 0 and os.path.exists(path):
            try:
                train, val = fewshot.read_pickle(path, split, shots)
                self.fewshot_source = path
                print(f"Few-shot images from {path}")
                return split._replace(train=train, val=val)
            except UserError as error:
                print(f"Few-shot file ignored: {error}")
                path = ""  # the user's file stays as it is
        train, val = fewshot.draw(split, shots, seed)
        self.fewshot_source = "sampled"
        print(f"Few-shot images: {self.fewshot_source} ({shots} shots, seed {seed})")
        if path and seed >= 0:
            try:
                require_writable(self.dataset_dir)
                fewshot.write_pickle(path, train, val, self.image_dir)
            except OSError as error:
                print(f"The few-shot selection could not be kept in {path} ({error.strerror})")
        return split._replace(train=train, val=val)

    def require(self, path):
        """Raises UserError with the way to get the data unless `path` exists."""
        if not os.path.exists(path):
            raise UserError(f"{type(self).__name__}: expected {path}, which does not exist.{self.how_to_get()}")

    def require_images(self, split, source):
        """Raises UserError unless each image of the split is there."""
        missing = missing_files(self.image_dir, [item.path for item in split.items()])
        if missing:
            raise UserError(f"{source} names {len(missing)} images that are not in {self.image_dir}: {', '.join(missing[:5])}"
                            f"{', ...' if len(missing) > 5 else ''}.{self.how_to_get()}")

    def how_to_get(self):
        return f"\nTo get it: python scripts/data.py prepare {type(self).__name__} --root {self.root}"

    def split_folders(self, ignored=(), names=None):
        """Split 50/20/30 of one folder a class below image_dir; `names` maps folders to class names."""
        folders = [folder for folder in list_folders(self.image_dir) if folder not in ignored]
        items = []
        for label, folder in enumerate(folders):
            images = list_images(os.path.join(self.image_dir, folder))
            if not images:
                raise UserError(f"{os.path.join(self.image_dir, folder)} holds no images, but each folder there is a class")
            items += [Item(f"{folder}/{image}", label, (names or {}).get(folder, folder)) for image in images]
        return split_classes(items, random.Random(SPLIT_SEED))


def check_template(template):
    """`template` if it has exactly one place for a class name, '{}'. Raises UserError."""
    if template.count("{}") != 1 or template.replace("{}", "").strip("{}") != template.replace("{}", ""):
        raise UserError(f"DATASET.TEMPLATE must contain {{}} once, where the class name goes, but is {template!r}")
    return template
