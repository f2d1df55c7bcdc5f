"""Leave-classes-out: the classes that have images, halved by a seeded draw. One half keeps its few-shot images, of the
other only the names are given; images that training left over judge both."""

import random
from math import ceil
from types import SimpleNamespace

from .files import UserError
from .images import fixed_subset, held_out, relabelled
from .randomness import derive_seed

AT_MOST = 10_000  # images that a half is evaluated on: on more, a head with prompts of each image takes days


class Half:
    """Some classes of a data set, as a data set of its own; labels count from 0, in the order of `labels`.

    train_x: its few-shot images. val, or unused_train where the data set has no validation images: what a method may
    search on. test: images of neither, none of them a test image of the data set.
    """

    train_u = None

    def __init__(self, dataset, labels, drawn, val, unused_train, held_out):
        names = {item.label: item.classname for item in drawn}
        place = {label: i for i, label in enumerate(labels)}

        def of_these(items):
            return relabelled([item for item in items if item.label in place], lambda item: place[item.label])

        self._dataset, self.classnames = dataset, [names[label] for label in labels]
        self.train_x, self.val, self.unused_train, test = map(of_these, (drawn, val, unused_train, held_out))
        self.test = test if len(test) <= AT_MOST else fixed_subset(test, AT_MOST)

    def __getattr__(self, name):
        return getattr(self._dataset, name)

    @property
    def num_classes(self):
        return len(self.classnames)

    @property
    def lab2cname(self):
        return dict(enumerate(self.classnames))


def leave_out(drawn, whole, shots, seed):
    """-> (Half with images, Half with names only, paths of the training images among those that judge them).

    `drawn` and `whole` are the data set with and without the few-shot selection of `shots` images a class. Raises
    UserError where there are too few classes, or where training leaves no image over.
    """
    test, trained = ({item.impath for item in items} for items in (whole.test, drawn.train_x))
    left_over = [item for item in whole.train_x if item.impath not in trained | test]
    val = [item for item in whole.val or () if item.impath not in test]
    few_val = [item for item in drawn.val or () if item.impath not in test]
    if not left_over + val:
        raise UserError(
            f"TASK leave_classes_out judges by images that training leaves over, and {type(drawn).__name__} has none "
            f"with DATASET.NUM_SHOTS {shots}: give fewer shots, such as 16"
        )
    if shots < 1 or not few_val:
        few = held_out(SimpleNamespace(unused_train=val or left_over), shots, seed)
        few_val, few_train = (few, []) if val else ([], few)
    else:
        few_train = []
    searched = {item.impath for item in few_val + few_train}
    judges = [item for item in val + left_over if item.impath not in searched]
    halves = [
        Half(drawn, labels, drawn.train_x, few_val, few_train, judges) for labels in draw_halves(drawn.train_x, seed)
    ]
    for half in halves:
        if not half.test:
            raise UserError(
                f"TASK leave_classes_out: training and validation leave no image of {', '.join(half.classnames[:5])} "
                "over to judge by; give fewer shots"
            )
    return *halves, {item.impath for item in left_over}


def draw_halves(items, seed):
    """The labels of `items` in two lists, each in order; the first has one more where their number is odd."""
    labels = sorted({item.label for item in items})
    if len(labels) < 2:
        raise UserError(
            f"TASK leave_classes_out halves the classes that have images, and there is only one: '{items[0].classname}'"
        )
    first = set(random.Random(derive_seed(seed, "leave-classes-out")).sample(labels, ceil(len(labels) / 2)))
    return [label for label in labels if label in first], [label for label in labels if label not in first]
