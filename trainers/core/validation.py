"""On which images a method may search its hyper-parameters: few-shot validation, else left-over training images, never the test set."""
import random

from .errors import UserError
from .randomness import derive_seed

PER_CLASS = 4  # at most; CoOp's few-shot validation has min(shots, 4) as well


def val_is_test(dataset):
    """Whether the validation items of a dataset are its test items, as in stock CoOp's ImageNet reader."""
    return bool(dataset.val) and not {item.impath for item in dataset.val}.isdisjoint(item.impath for item in dataset.test)


def held_out(dataset, shots, seed):
    """min(shots, 4) Datum of each class from the training images that the few-shot draw left over, drawn by a generator of their own.

    Raises UserError where the dataset has none: it must expose them as `unused_train`.
    """
    unused = getattr(dataset, "unused_train", None)
    if not unused:
        reason = "keeps none of them (all were drawn)" if unused is not None else "does not say which these are (no attribute unused_train)"
        raise UserError(
            f"{type(dataset).__name__} has no validation images to search on, and of the training images left over by the few-shot draw it {reason}"
        )
    generator = random.Random(derive_seed(seed, "held-out"))
    per_class = min(shots, PER_CLASS) if shots >= 1 else PER_CLASS
    groups = {}
    for item in unused:
        groups.setdefault(item.label, []).append(item)
    return [item for label in sorted(groups) for item in generator.sample(groups[label], min(per_class, len(groups[label])))]
