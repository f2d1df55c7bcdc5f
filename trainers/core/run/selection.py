"""Images to search hyper-parameters on: few-shot validation, else left-over training images; never test images."""

import random

from ..errors import UserError
from ..randomness import derive_seed

PER_CLASS = 4  # at most; CoOp's few-shot validation has min(shots, 4) as well


def val_is_test(dataset):
    """Whether the validation items of a dataset are its test items, as in stock CoOp's ImageNet reader."""
    test = {item.impath for item in dataset.test}
    return any(item.impath in test for item in dataset.val or ())


def held_out(dataset, shots, seed):
    """min(shots, 4) Datum of each class of the training images left over by the few-shot draw, with its own generator.

    Raises UserError where there are none; the dataset must expose them as `unused_train`.
    """
    unused = getattr(dataset, "unused_train", None)
    if not unused:
        reason = "does not say which these are (no unused_train)" if unused is None else "has none (all were drawn)"
        raise UserError(
            f"{type(dataset).__name__} has no validation images to search on, and of training images left over by the "
            f"few-shot draw it {reason}: switch the method's search off"
        )
    generator = random.Random(derive_seed(seed, "held-out"))
    per_class = min(shots, PER_CLASS) if shots >= 1 else PER_CLASS
    groups = {}
    for item in unused:
        groups.setdefault(item.label, []).append(item)
    drawn = (generator.sample(groups[label], min(per_class, len(groups[label]))) for label in sorted(groups))
    return [item for group in drawn for item in group]
