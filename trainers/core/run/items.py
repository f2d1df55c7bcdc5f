"""Lists of Datum: with other labels, and the same part of them in every run."""

import os

from ..randomness import derive_seed


def relabelled(items, label_of):
    """The same items with the labels `label_of(item)`."""
    return [
        type(item)(impath=item.impath, label=label_of(item), domain=item.domain, classname=item.classname)
        for item in items
    ]


def shifted(items, by):
    """The same items with labels moved up by `by`."""
    return relabelled(items, lambda item: item.label + by)


def fixed_subset(items, count):
    """`count` of the items, in proportion to the classes' sizes: the same ones in every run, on every machine.

    They are ordered by class, within a class by a hash of the file's name; then every len(items) / count-th is taken.
    """
    order = sorted(items, key=lambda item: (item.label, derive_seed("subset", os.path.basename(item.impath))))
    return [order[(2 * i + 1) * len(order) // (2 * count)] for i in range(count)]
