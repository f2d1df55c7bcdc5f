"""Any folder of images: one sub-folder a class, whose name is the class name. Nothing else is needed.

DATASET.ROOT is that folder. Either it holds `train/`, `test/` and perhaps `val/`, each with the class folders; or it
holds the class folders directly, and a split (50/20/30 of each class, fixed seed) is made and kept beside them.
"""

import os
import random

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError

from .benchmark import SPLIT_SEED, Benchmark
from .files import IMAGE_SUFFIXES, list_folders
from .splits import PARTS, Item, Split, class_names, split_classes


@DATASET_REGISTRY.register()
class ImageFolder(Benchmark):
    split_file = "split_ImageFolder.json"

    def locate(self, root):
        super().locate(root)
        self.require(self.image_dir)
        self.has_parts = set(self.class_folders(self.image_dir)) <= set(PARTS)
        if self.has_parts:
            self.split_file = ""  # the folders are the split

    def find_split(self):
        split = super().find_split()
        added = sorted(set(self.class_folders(self.image_dir)) - set(class_names(split))) if not self.has_parts else []
        if added:
            print(
                f"{self.split_path} is older than {len(added)} class folders, which stay unused: "
                f"{', '.join(added[:5])}. Delete it to split anew"
            )
        return split

    def make_split(self):
        folders = self.class_folders(self.image_dir)
        if self.has_parts:
            return self.read_parts(folders)
        items = [item for label, name in enumerate(folders) for item in self.read_class(name, label, name)]
        return split_classes(items, random.Random(SPLIT_SEED))

    def read_parts(self, parts):
        """Split of the folders train, val and test; classes are those of train."""
        if "train" not in parts or "test" not in parts:
            raise UserError(
                f"{self.image_dir} has only {', '.join(parts)}: expected train/ and test/ (val/ is optional), "
                "or class folders"
            )
        labels = {name: label for label, name in enumerate(self.class_folders(os.path.join(self.image_dir, "train")))}
        split = Split([], [], [])
        for part in parts:
            for name in self.class_folders(os.path.join(self.image_dir, part)):
                if name not in labels:
                    raise UserError(f"{self.image_dir}: class {name!r} is in {part}/ but not in train/")
                getattr(split, part).extend(self.read_class(f"{part}/{name}", labels[name], name))
        return split

    def class_folders(self, folder):
        """Sorted class folders; `split_fewshot` is where few-shot selections are kept. Raises UserError where there is
        none.
        """
        names = [name for name in list_folders(folder) if name != "split_fewshot"]
        if not names:
            raise UserError(f"{folder} has no sub-folders: expected one folder of images for each class")
        return names

    def read_class(self, folder, label, name):
        """Items of all images in a class folder and the folders below it."""
        items = []
        top = os.path.join(self.image_dir, folder)
        for where, below, files in os.walk(top):
            below[:] = sorted(entry for entry in below if not entry.startswith("."))
            relative = os.path.relpath(where, self.image_dir).replace(os.sep, "/")
            images = [
                file for file in sorted(files) if file.lower().endswith(IMAGE_SUFFIXES) and not file.startswith(".")
            ]
            items += [Item(f"{relative}/{image}", label, name) for image in images]
        if not items:
            raise UserError(f"{top} holds no images ({' '.join(IMAGE_SUFFIXES)}), but each folder there is a class")
        return items

    def how_to_get(self):
        return "\nSet it with --root: a folder with one sub-folder of images for each class"
