"""Generalized zero-shot learning with the Proposed Splits of Xian et al. (TPAMI 2018,
https://arxiv.org/abs/1707.00600).

att_splits.mat gives three lists of images by their place, counted from 1, in an order of images that is part of the
benchmark: trainval (seen classes), test_seen and test_unseen. A reader states that order. Labels run over both kinds of
classes, seen ones first.
"""

import os
import re

from dassl.utils import UserError

from .files import explained, read_lines, read_mat
from .reader import Reader
from .splits import Item, Split


class GZSL(Reader):
    """A dataset of the Proposed Splits.

    train_x: all trainval images (or a few-shot selection of them); test = test_seen + test_unseen; classnames =
    seen_classnames + unseen_classnames. There is no validation set: it would be made of training images.
    """

    splits_folder = ""  # below DATASET.ROOT
    # Set for each instance; that the class has it says that TASK gzsl need not make seen and unseen classes itself.
    unseen_classnames = ()
    needs_train = False  # the unseen classes have no training images

    def __init__(self, cfg):
        if cfg.DATASET.get("SUBSAMPLE_CLASSES", "all") != "all":
            raise UserError(
                f"{type(self).__name__} has seen and unseen classes; "
                "DATASET.SUBSAMPLE_CLASSES must be all (use TASK gzsl)"
            )
        super().__init__(cfg)
        seen = {item.label for item in self.train_x}
        if seen != set(range(len(seen))):
            raise UserError(f"{type(self).__name__}: the labels of the seen classes must come first")
        self.seen_classnames = self.all_classnames[: len(seen)]
        self.unseen_classnames = self.all_classnames[len(seen) :]
        self.test_seen = [item for item in self.test if item.label in seen]
        self.test_unseen = [item for item in self.test if item.label not in seen]

    # The base class knows only the classes of training images.
    @property
    def classnames(self):
        return self.all_classnames

    @property
    def lab2cname(self):
        return dict(enumerate(self.all_classnames))

    @property
    def num_classes(self):
        return len(self.all_classnames)

    def image_order(self):
        """[(path below image_dir, class key)] in the order that the splits count. Keys sort as the classes should."""
        raise NotImplementedError

    def class_name(self, key):
        """Class name of a key: '005.Crested_Auklet' is 'Crested Auklet', 'grizzly+bear' is 'grizzly bear'."""
        return re.sub(r"^\d+\.", "", key).replace("_", " ").replace("+", " ")

    def make_split(self):
        path = self.splits_path("att_splits.mat")
        mat, images = read_mat(path), self.image_order()
        train, test_seen, test_unseen = (
            self.pick(mat, f"{name}_loc", images, path) for name in ("trainval", "test_seen", "test_unseen")
        )
        seen, unseen = sorted({key for _, key in train}), sorted({key for _, key in test_unseen})
        if {key for _, key in test_seen} - set(seen) or set(seen) & set(unseen):
            raise UserError(
                f"{path}: seen and unseen classes are not disjoint, so its lists count another order of the images"
            )
        self.check_unseen(unseen)
        labels = {key: label for label, key in enumerate(seen + unseen)}
        train, test = (
            [Item(image, labels[key], self.class_name(key)) for image, key in rows]
            for rows in (train, test_seen + test_unseen)
        )
        return Split(train, [], test)

    def pick(self, mat, name, images, path):
        """The images that a list of the .mat file counts."""
        with explained(f"{path} has no usable list {name}"):
            places = [int(place) for place in mat[name].ravel()]
        if not places or min(places) < 1 or max(places) > len(images):
            raise UserError(
                f"{path}: {name} must count from 1 to {len(images)}, the number of images, "
                f"but runs from {min(places, default=0)} to {max(places, default=0)}"
            )
        return [images[place - 1] for place in places]

    def check_unseen(self, unseen):
        """Where the splits come with a list of the unseen classes, it must be theirs."""
        path = os.path.join(self.root, self.splits_folder, "testclasses.txt")
        if os.path.exists(path) and set(read_lines(path)) != set(unseen):
            raise UserError(
                f"the unseen classes found are not those of {path}: "
                "the images are in another order than the splits count"
            )

    def splits_path(self, name):
        """Path of a file of the splits, which must exist."""
        return self.path_of(self.root, self.splits_folder, name)
