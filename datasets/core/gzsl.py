"""Generalized zero-shot learning with the Proposed Splits of Xian et al. (TPAMI 2018,
https://arxiv.org/abs/1707.00600).

att_splits.mat gives three lists of images by their place, counted from 1, in an order of images that is part of the
benchmark: trainval (seen classes), test_seen and test_unseen. A reader states that order. Labels run over both kinds of
classes, seen ones first.
"""

import os
import re

from dassl.utils import UserError

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
            raise UserError(f"{type(self).__name__} has seen and unseen classes: leave DATASET.SUBSAMPLE_CLASSES out")
        super().__init__(cfg)
        seen = {item.label for item in self.train_x}
        self.seen_classnames = self.all_classnames[: len(seen)]
        self.unseen_classnames = self.all_classnames[len(seen) :]
        self.test_seen = [item for item in self.test if item.label in seen]
        self.test_unseen = [item for item in self.test if item.label not in seen]
        # DatasetBase knows only the classes of training images.
        self._classnames, self._num_classes = self.all_classnames, len(self.all_classnames)
        self._lab2cname = dict(enumerate(self.all_classnames))

    def image_order(self):
        """[(path below image_dir, class key)] in the order that the splits count. Keys sort as the classes should."""
        raise NotImplementedError

    def class_name(self, key):
        """Class name of a key: '005.Crested_Auklet' is 'Crested Auklet', 'grizzly+bear' is 'grizzly bear'."""
        return re.sub(r"^\d+\.", "", key).replace("_", " ").replace("+", " ")

    def make_split(self):
        images, places = self.image_order(), self.read_mat(self.root, self.splits_folder, "att_splits.mat")
        lists = [places[f"{name}_loc"].ravel().astype(int) for name in ("trainval", "test_seen", "test_unseen")]
        train, test_seen, test_unseen = ([images[place - 1] for place in numbers] for numbers in lists)
        seen, unseen = ({key for _, key in rows} for rows in (train, test_unseen))
        listed = os.path.join(self.root, self.splits_folder, "testclasses.txt")  # comes with some of the splits
        as_listed = not os.path.exists(listed) or {*self.read_lines(listed)} == unseen
        if {key for _, key in test_seen} - seen or seen & unseen or min(map(min, lists)) < 1 or not as_listed:
            raise UserError("att_splits.mat does not fit: the images are in another order than it counts")
        labels = {key: label for label, key in enumerate([*sorted(seen), *sorted(unseen)])}

        def items(rows):
            return [Item(image, labels[key], self.class_name(key)) for image, key in rows]

        return Split(items(train), [], items(test_seen + test_unseen))
