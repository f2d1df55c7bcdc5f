"""ImageNet (ILSVRC 2012), https://image-net.org: 1000 classes, tested on its validation images as everybody does.

Those images are the test set, so there is no validation set (CoOp passes the test set as one). The class names are
CLIP's (openai/CLIP, MIT licence), kept in imagenet_classnames.txt: other public lists differ in hundreds of names. They
are not unique.
"""

import os

from dassl.utils import UserError

from trainers.core.files import first_five, read_names

from .core import DATASET_REGISTRY, Reader, Split, list_folders

CLASSNAMES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "imagenet_classnames.txt")


def read_classnames(path):
    """{folder: class name} of lines 'n01440764 tench', in their order."""
    return dict(line.split(maxsplit=1) for line in read_names(path, "the list"))


class ImageNetFamily(Reader):
    """Sets whose class folders are named by WordNet ids."""

    def known_names(self):
        """{folder: class name}: a user's classnames.txt in the dataset's folder or ImageNet's, else the shipped one."""
        own = [os.path.join(folder, "classnames.txt") for folder in (self.dataset_dir, f"{self.root}/imagenet")]
        path = next(filter(os.path.exists, own), CLASSNAMES)
        names = read_classnames(path)
        if names != read_classnames(CLASSNAMES):
            print(f"Class names from {path}, which differ from CLIP's: figures will not compare with other papers'")
        return names

    def named_folders(self, below=""):
        """{folder: class name} of the sorted class folders in image_dir/below."""
        top = os.path.join(self.image_dir, below)
        known, folders = self.known_names(), list_folders(top)
        unknown = [folder for folder in folders if folder not in known]
        if unknown or not folders:
            found = first_five(unknown) or "no folders: images of ImageNet must be sorted into class folders"
            raise UserError(f"{top} should hold class folders such as {next(iter(known))}, but has {found}")
        return {folder: known[folder] for folder in folders}


@DATASET_REGISTRY.register()
class ImageNet(ImageNetFamily):
    dataset_dir = "imagenet"
    image_folder = "images"

    def make_split(self):
        train, test = self.named_folders("train"), self.named_folders("val")
        return Split(self.read_folders(train, "train"), [], self.read_folders(test, "val"))


class ImageNetTest(ImageNetFamily):
    """A variant of ImageNet's images to test on."""

    needs_train = False

    def make_split(self):
        return Split([], [], self.read_folders(self.named_folders()))
