"""Items of a dataset, the dataset itself, and few-shot sampling."""

import random
from operator import index

from ...utils import UserError


class Datum:
    """One image: its path, label, domain and class name.

    The path need not exist: items of a feature bank have no image. Few-shot pickles name this class and its attributes
    `_impath`, `_label`, `_domain` and `_classname`.
    """

    def __init__(self, impath="", label=0, domain=0, classname=""):
        try:
            label, domain = index(label), index(domain)  # NumPy integers as well
        except TypeError:
            raise UserError(
                f"label and domain of item {impath!r}: expected integers, got {label!r}, {domain!r}"
            ) from None
        if not isinstance(impath, str) or not isinstance(classname, str):
            raise UserError(f"path and class name of an item: expected strings, got {impath!r} and {classname!r}")
        self._impath = impath
        self._label = label
        self._domain = domain
        self._classname = classname

    @property
    def impath(self):
        return self._impath

    @property
    def label(self):
        return self._label

    @property
    def domain(self):
        return self._domain

    @property
    def classname(self):
        return self._classname

    def __repr__(self):
        return f"Datum({self._impath!r}, label={self._label}, classname={self._classname!r})"


class DatasetBase:
    """Lists of Datum for training (labelled `train_x`, unlabelled `train_u`), validation and test.

    Labels of the training items are 0 .. num_classes - 1; `lab2cname` maps them to names, `classnames` lists these in
    order.
    """

    dataset_dir = ""  # folder below DATASET.ROOT
    domains = []

    def __init__(self, train_x=None, train_u=None, val=None, test=None):
        self._train_x = train_x
        self._train_u = train_u
        self._val = val
        self._test = test
        self._num_classes = self.get_num_classes(train_x)
        self._lab2cname, self._classnames = self.get_lab2cname(train_x)

    @property
    def train_x(self):
        return self._train_x

    @property
    def train_u(self):
        return self._train_u

    @property
    def val(self):
        return self._val

    @property
    def test(self):
        return self._test

    @property
    def lab2cname(self):
        return self._lab2cname

    @property
    def classnames(self):
        return self._classnames

    @property
    def num_classes(self):
        return self._num_classes

    @staticmethod
    def get_num_classes(data_source):
        """1 + the highest label; UserError where there are no items."""
        if not data_source:
            raise UserError("the training set has no items; check DATASET.ROOT and the split")
        return 1 + max(item.label for item in data_source)

    @staticmethod
    def get_lab2cname(data_source):
        """(dict of label -> class name, names in the order of the labels)."""
        mapping = {item.label: item.classname for item in data_source}
        mapping = {label: mapping[label] for label in sorted(mapping)}
        return mapping, list(mapping.values())

    def split_dataset_by_label(self, data_source):
        """Dict of label -> its items, labels and items in order of appearance."""
        groups = {}
        for item in data_source:
            groups.setdefault(item.label, []).append(item)
        return groups

    def generate_fewshot_dataset(self, *data_sources, num_shots=-1, repeat=False):
        """`num_shots` items of each label from each source, drawn by Python's random generator label after label.

        A label with fewer items keeps them all, in order, and draws nothing, unless `repeat` draws with replacement.
        Returns one list for one source, else a list of lists; `num_shots` below 1 returns the sources as they are.
        """
        if num_shots >= 1:
            print(f"Creating a {num_shots}-shot dataset")
            data_sources = [self._draw(source, num_shots, repeat) for source in data_sources]
        return data_sources[0] if len(data_sources) == 1 else data_sources

    def _draw(self, source, num_shots, repeat):
        drawn, short = [], []
        for items in self.split_dataset_by_label(source).values():
            if len(items) >= num_shots:
                drawn += random.sample(items, num_shots)
            elif repeat:
                drawn += random.choices(items, k=num_shots)
            else:
                drawn += items
                short.append(f"{items[0].classname} ({len(items)})")
        if short:
            print(f"Fewer than {num_shots} images, all kept, in {len(short)} classes: {', '.join(short)}")
        return drawn
