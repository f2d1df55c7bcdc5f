"""Leave-classes-out inside the shots: a base-to-new problem of half the size, made of the few-shot images alone.

A fold draws half of the base classes, of which only the names are given (pseudo-new), and in each class half of its
few-shot images, which the method is fitted on; the other half judges, together with left-over and validation images
where there are some. All views of an image are on one side. No test image and no image of a new class is read.

    (F1) fit on the fitting half of the pseudo-base classes
    (F2) logits of the judging images of all base classes, over all base names
    (F3) H, all, all_H of the fold;   mean and standard error over folds (DATASET.FOLD 0, 1, ...)

Folds of few classes are another problem than the real one: they may choose between methods that differ by points, not
tune a threshold.
"""

import random
from math import ceil

from dassl.data.datasets.base_dataset import DatasetBase

from .files import UserError
from .images import by_label, fixed_subset, held_out, relabelled
from .randomness import derive_seed

LEAST_CLASSES = 4
AT_MOST = 10_000  # images that a half is evaluated on: on more, a head with prompts of each image takes days


class Half(DatasetBase):
    """Some classes of a data set, as a data set of its own; labels count from 0, in the order of `labels`.

    train_x: its few-shot images. val, or unused_train where the data set has no validation images: what a method may
    search on. test: images of neither, none of them a test image of the data set.
    """

    def __init__(self, dataset, labels, drawn, val, unused_train, test):
        place = {label: i for i, label in enumerate(labels)}

        def of_these(items):
            return relabelled([item for item in items if item.label in place], lambda item: place[item.label])

        self._dataset, self.unused_train = dataset, of_these(unused_train)
        super().__init__(train_x=of_these(drawn), val=of_these(val), test=fixed_subset(of_these(test), AT_MOST))

    def __getattr__(self, name):
        return getattr(self._dataset, name)


def leave_out(drawn, whole, shots, seed, fold=0):
    """-> (Half with images, Half with names only).

    `drawn` and `whole` are the data set with and without the few-shot selection of `shots` images a class. Raises
    UserError where there are too few classes or images to judge with.
    """
    generator = random.Random(derive_seed(seed, "leave-classes-out", fold))
    groups = by_label(drawn.train_x)
    judged = sum(len(items) > 1 for items in groups.values())
    if judged < LEAST_CLASSES:
        wanted = f"{LEAST_CLASSES} base classes with two training images or more"
        raise UserError(f"TASK leave_classes_out needs {wanted}, and there are {judged}")
    fitting, judging = [], []
    for items in groups.values():
        order = generator.sample(items, len(items))
        fits = len(items) - len(items) // 2
        fitting += order[:fits]
        judging += order[fits:]
    test, trained = ({item.impath for item in items} for items in (whole.test, drawn.train_x))
    left_over = [item for item in whole.train_x if item.impath not in trained | test]
    val = [item for item in whole.val or () if item.impath not in test]
    few_val, few_train = [item for item in drawn.val or () if item.impath not in test], []
    if (shots < 1 or not few_val) and val + left_over:  # what a method may search on
        few = held_out(val or left_over, shots, seed)
        few_val, few_train = (few, []) if val else ([], few)
    searched = {item.impath for item in few_val + few_train}
    judges = [item for item in val + judging + left_over if item.impath not in searched]
    chosen = set(generator.sample(list(groups), ceil(len(groups) / 2)))
    sides = ([label for label in groups if (label in chosen) == side] for side in (True, False))
    return tuple(Half(drawn, labels, fitting, few_val, few_train, judges) for labels in sides)
