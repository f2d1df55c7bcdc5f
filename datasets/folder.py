"""Any folder of images: a folder per class, whose name is the class name (docs/your-data.md). Nothing else is needed.

DATASET.ROOT is that folder. Where it has no test/, a split (50/20/30 of each class, fixed seed) is made, whose list is
kept in FEATURES.DIR, and the folder must not change after that; with DATASET.SPLIT none all images are to train on.
"""

import hashlib
import os
from collections import Counter

from dassl.utils import UserError

from trainers.core.contents import content_hashes
from trainers.core.files import first_five
from trainers.core.folders import read_layout

from .core import DATASET_REGISTRY, PARTS, Reader, Split, class_names, split_classes


@DATASET_REGISTRY.register()
class ImageFolder(Reader):
    """Beside what a Reader has: no_test, why there are no test images, "" where there are; test_images_trained_on."""

    split_file = "split_ImageFolder.json"
    keeps_selection = False  # nothing is written into a user's images
    lists_folder = "features_cache"
    no_test, test_images_trained_on = "", 0

    def __init__(self, cfg):
        option, task = cfg.DATASET.get("SPLIT", ""), cfg.get("TASK", "fewshot")
        if option not in ("", "none") or (option and task not in ("fewshot", "leave_classes_out")):
            raise UserError(
                f"DATASET.SPLIT is {option!r} with TASK {task}: it is '' (50/20/30 of each class, where there is no "
                "test/), or none, which leaves no image to test on and is for TASK fewshot and leave_classes_out"
            )
        if option:
            self.no_test = "DATASET.SPLIT none trains on all images of the folder, so that none is left to test on"
        self.lists_folder = cfg.get("FEATURES", {}).get("DIR", self.lists_folder)
        super().__init__(cfg)

    def locate(self, root):
        super().locate(root)
        self.require(self.image_dir)
        parts = read_layout(self.image_dir)
        self.check_parts(parts)
        if self.no_test and "" in parts:
            parts = {"train": parts[""]}
        self.left_out, self.items = [], {part: [] for part in parts}
        labels = {name: label for label, name in enumerate(parts.get("train", parts.get("")))}
        for part, folders in parts.items():
            for name, folder in folders.items():
                self.items[part] += self.read_folder(folder, labels[name], name)
        if self.left_out:
            kinds = Counter(os.path.splitext(name)[1].lower() or "without suffix" for name in self.left_out)
            shown = first_five(f"{count} {kind}" for kind, count in kinds.most_common())
            print(f"{self.image_dir}: {len(self.left_out)} files that Pillow does not read are left out: {shown}")
        if "" not in parts:
            self.split_file = ""  # the folders are the split
        elif not os.path.exists(self.split_path):  # earlier versions kept it there
            place = hashlib.sha256(os.fsencode(os.path.realpath(self.image_dir))).hexdigest()[:12]
            name = f"{os.path.basename(self.image_dir)}-{place}.json"
            self.split_path = os.path.join(self.lists_folder, "splits", name)

    def check_parts(self, parts):
        """Raises UserError where DATASET.SPLIT contradicts the folder."""
        if self.no_test and "test" in parts:
            raise UserError(f"{self.image_dir} has test images: leave DATASET.SPLIT none out")
        if not self.no_test and "train" in parts and "test" not in parts:
            raise UserError(
                f"{self.image_dir} has {', '.join(parts)} and no test/: expected train/ and test/ (val/ is optional). "
                "Rename the folder of what to test on; or type TASK fewshot DATASET.SPLIT none, and nothing is tested"
            )

    def load_split(self):
        split = super().load_split()
        train, val, test = map(len, split)
        how = "50/20/30 of each class, as there is no test/; TASK fewshot DATASET.SPLIT none trains on all"
        print(
            f"{self.image_dir}: {train + val + test} images of {len(class_names(split))} classes: {train} to train on, "
            f"{val} to validate, {test} to test{f' ({how})' if self.split_file else ''}"
        )
        copies = self.copies(split)
        if copies:
            print(f"WARNING: {len(copies)} test images are training images, byte for byte: {first_five(copies)}")
        self.test_images_trained_on = len(copies)
        return split

    def check_images(self, split, source):
        listed = {(item.path, item.classname) for item in split.items()}
        there = {(item.path, item.classname) for items in self.items.values() for item in items}
        if listed != there:
            changed = first_five(sorted(path for path, _ in listed ^ there))
            raise UserError(
                f"{source} keeps the list of the training, validation and test images of {self.image_dir}, which has "
                f"changed since: {len(listed - there)} gone and {len(there - listed)} new ({changed}). Put them back; "
                "or split it anew (images that earlier runs tested on may then be trained on, so do not compare with "
                f"their figures) by deleting the list: rm '{source}'"
            )

    def make_split(self):
        return (
            split_classes(self.items[""]) if self.split_file else Split(*(self.items.get(part, []) for part in PARTS))
        )

    def selection_path(self, shots, seed):
        return "" if self.no_test else super().selection_path(shots, seed)  # what lies there is of a split

    def copies(self, split):
        """Paths of the test images that are training images too, byte for byte; only files of equal size are read."""
        train, test = ({item.path: self.size(item.path) for item in items} for items in (split.train, split.test))
        shared = {*train.values()} & {*test.values()}
        alike = [path for path, size in (train | test).items() if size in shared]
        hashes = content_hashes([os.path.join(self.image_dir, path) for path in alike], self.lists_folder)
        hash_of = dict(zip(alike, hashes, strict=True))
        trained = {hash_of.get(path) for path in train} - {None, ""}
        return [path for path in test if hash_of.get(path) in trained]

    def size(self, path):
        file = os.path.join(self.image_dir, path)
        return os.path.getsize(file) if os.path.isfile(file) else -1  # the reader of the image says what is wrong

    def how_to_get(self):
        return "\nSet it with --root: a folder with one sub-folder of images for each class"
