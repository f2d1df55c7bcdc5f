"""Any folder of images: one sub-folder a class, whose name is the class name. Nothing else is needed.

DATASET.ROOT is that folder. Either it holds `train/`, `test/` and perhaps `val/`, each with the class folders; or it
holds the class folders directly, and a split (50/20/30 of each class, fixed seed) is made and kept beside them.
"""

import os

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError

from .core import PARTS, Reader, Split, class_names, list_folders, split_classes


@DATASET_REGISTRY.register()
class ImageFolder(Reader):
    split_file = "split_ImageFolder.json"

    def locate(self, root):
        super().locate(root)
        self.require(self.image_dir)
        self.has_parts = set(self.class_folders()) <= set(PARTS)
        if self.has_parts:
            self.split_file = ""  # the folders are the split

    def find_split(self, images=True):
        split = super().find_split(images)
        added = sorted(set(self.class_folders()) - set(class_names(split))) if not self.has_parts else []
        if added:
            print(
                f"{self.split_path} is older than {len(added)} class folders, which stay unused: "
                f"{', '.join(added[:5])}. Delete it to split anew"
            )
        return split

    def make_split(self):
        folders = self.class_folders()
        if self.has_parts:
            return self.read_parts(folders)
        return split_classes(self.read_folders({name: name for name in folders}))

    def read_parts(self, parts):
        """Split of the folders train, val and test; classes are those of train."""
        if "train" not in parts or "test" not in parts:
            raise UserError(
                f"{self.image_dir} has only {', '.join(parts)}: expected train/ and test/ (val/ is optional), "
                "or class folders"
            )
        labels = {name: label for label, name in enumerate(self.class_folders("train"))}
        split = Split([], [], [])
        for part in parts:
            for name in self.class_folders(part):
                if name not in labels:
                    raise UserError(f"{self.image_dir}: class {name!r} is in {part}/ but not in train/")
                getattr(split, part).extend(self.read_folder(f"{part}/{name}", labels[name], name))
        return split

    def class_folders(self, part=""):
        """Sorted class folders; `split_fewshot` is where few-shot selections are kept. Raises UserError where there is
        none.
        """
        folder = os.path.join(self.image_dir, part)
        names = [name for name in list_folders(folder) if name != "split_fewshot"]
        if not names:
            raise UserError(f"{folder} has no sub-folders: expected one folder of images for each class")
        return names

    def how_to_get(self):
        return "\nSet it with --root: a folder with one sub-folder of images for each class"
