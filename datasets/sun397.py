"""SUN397 (Xiao et al. 2010), https://vision.princeton.edu/projects/2010/SUN: 397 kinds of scenes."""

import random

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError

from .benchmark import SPLIT_SEED, Benchmark
from .files import read_lines
from .splits import Item, Split, split_trainval


@DATASET_REGISTRY.register()
class SUN397(Benchmark):
    dataset_dir = "sun397"
    image_folder = "SUN397"
    split_file = "split_zhou_SUN397.json"

    def make_split(self):
        """The first of the published partitions; 20% of each class of its training images become val."""
        labels = {name.lstrip("/"): label for label, name in enumerate(read_lines(self.path_of("ClassName.txt")))}
        train, val = split_trainval(self.read_list("Training_01.txt", labels), random.Random(SPLIT_SEED))
        return Split(train, val, self.read_list("Testing_01.txt", labels))

    def read_list(self, name, labels):
        """Items of lines '/a/abbey/sun_x.jpg'. Class a/athletic_field/outdoor is 'outdoor athletic_field'."""
        path = self.path_of(name)
        items = []
        for line in read_lines(path):
            image = line.lstrip("/")
            folder = image.rpartition("/")[0]
            if folder not in labels:
                raise UserError(
                    f"{path}: expected '/letter/class/image' with a class of ClassName.txt, found {line!r:.80}"
                )
            items.append(Item(image, labels[folder], " ".join(reversed(folder.split("/")[1:]))))
        return items
