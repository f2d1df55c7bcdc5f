"""Any folder of images: a folder per class, whose name is the class name (docs/your-data.md). Nothing else is needed.

DATASET.ROOT is that folder. Where it has no test/, a split (50/20/30 of each class, fixed seed) is made, whose list is
kept in FEATURES.DIR, and the folder must not change after that; with DATASET.SPLIT none all images are to train on.
"""

import hashlib
import os

from dassl.utils import UserError

from trainers.core.contents import content_hashes
from trainers.core.files import first_five
from trainers.core.folders import read_layout

from .core import DATASET_REGISTRY, PARTS, Reader, Split, class_names, split_classes


@DATASET_REGISTRY.register()
class ImageFolder(Reader):
    """Beside what a Reader has: no_test, why there are no test images, "" where there are; test_images_trained_on."""

    no_test = ""

    def __init__(self, cfg):
        option, task = cfg.DATASET.get("SPLIT", ""), cfg.get("TASK", "fewshot")
        if option not in ("", "none") or (option and task not in ("fewshot", "leave_classes_out")):
            raise UserError(
                f"DATASET.SPLIT {option} with TASK {task}: it is none, with TASK fewshot or leave_classes_out"
            )
        if option:
            self.no_test = "DATASET.SPLIT none trains on all images of the folder, so that none is left to test on"
        self.lists_folder = cfg.get("FEATURES", {}).get("DIR", "features_cache")
        super().__init__(cfg)

    def locate(self, root):
        super().locate(root)
        self.path_of(self.image_dir)
        parts = read_layout(self.image_dir)
        if self.no_test and "test" in parts:
            raise UserError(f"{self.image_dir} has test images: leave DATASET.SPLIT none out")
        if not self.no_test and "train" in parts and "test" not in parts:
            raise UserError(
                f"{self.image_dir} has {', '.join(parts)} and no test/: rename the folder of what to test on; or type "
                "TASK fewshot DATASET.SPLIT none, and nothing is tested"
            )
        if self.no_test and "" in parts:
            parts = {"train": parts[""]}
        self.left_out, self.items = [], {}
        for part, folders in parts.items():
            labels = {name: label for label, name in enumerate(parts.get("train", folders))}
            self.items[part] = []
            for name, folder in folders.items():
                self.items[part] += self.read_folder(folder, labels[name], name)
        if self.left_out:
            found = f"{len(self.left_out)} files that Pillow does not read are left out"
            print(f"{self.image_dir}: {found}: {first_five(self.left_out)}")
        if "" in parts:
            place = hashlib.sha256(os.fsencode(os.path.realpath(self.image_dir))).hexdigest()[:12]
            self.split_file = f"{os.path.basename(self.image_dir)}-{place}.json"
            self.split_path = os.path.join(self.lists_folder, "splits", self.split_file)

    def load_split(self, keep=True):
        split = super().load_split(keep)
        train, val, test = map(len, split)
        how = " (50/20/30 of each class; TASK fewshot DATASET.SPLIT none trains on all)" if self.split_file else ""
        count = f"{train + val + test} images of {len(class_names(split))} classes"
        print(f"{self.image_dir}: {count}: {train} to train on, {val} to validate, {test} to test{how}")
        copies = self.copies(split) if split.test else []
        if copies:
            print(f"WARNING: {len(copies)} test images are training images, byte for byte: {first_five(copies)}")
        self.test_images_trained_on = len(copies)
        return split

    def check_images(self, split):
        listed = {(item.path, item.classname) for item in split.items()}
        there = {(item.path, item.classname) for items in self.items.values() for item in items}
        if listed != there:
            changed = first_five(sorted(path for path, _ in listed ^ there))
            raise UserError(
                f"{self.image_dir} has changed since its split: {len(listed - there)} gone and {len(there - listed)} "
                f"new ({changed}). Put them back; or delete the list, and it is split anew (images that earlier runs "
                f"tested on may then be trained on, so do not compare with their figures): rm '{self.split_path}'"
            )

    def make_split(self):
        if self.split_file:
            return split_classes(self.items[""])
        return Split(*(self.items.get(part, []) for part in PARTS))  # the folders are the split

    def selection_path(self, shots, seed):
        return ""  # nothing is written into a user's images

    def copies(self, split):
        """Paths of the test images that are training images too, byte for byte."""
        paths = [os.path.join(self.image_dir, item.path) for item in split.train + split.test]
        hashes = content_hashes(paths, self.lists_folder)
        trained = {*hashes[: len(split.train)]} - {""}  # "": the reader of the image says what is wrong
        return [item.path for item, of_test in zip(split.test, hashes[len(split.train) :]) if of_test in trained]

    def how_to_get(self):
        return "\nSet it with --root: a folder with one sub-folder of images for each class"
