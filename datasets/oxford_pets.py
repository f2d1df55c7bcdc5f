"""Oxford-IIIT Pets (Parkhi et al. 2012), https://www.robots.ox.ac.uk/~vgg/data/pets: 37 breeds of cats and dogs."""

import random

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError

from .benchmark import SPLIT_SEED, Benchmark
from .files import read_lines
from .splits import Item, Split, split_trainval


@DATASET_REGISTRY.register()
class OxfordPets(Benchmark):
    dataset_dir = "oxford_pets"
    image_folder = "images"
    split_file = "split_zhou_OxfordPets.json"
    template = "a photo of a {}, a type of pet."

    def make_split(self):
        """Test as published; 20% of each class of the published trainval become val."""
        train, val = split_trainval(self.read_annotations("trainval.txt"), random.Random(SPLIT_SEED))
        return Split(train, val, self.read_annotations("test.txt"))

    def read_annotations(self, name):
        """Items of lines 'Abyssinian_100 1 1 1': image and class, the class counted from 1."""
        path = self.path_of("annotations", name)
        items = []
        for line in read_lines(path):
            fields = line.split()
            if len(fields) != 4 or not fields[1].isdecimal() or "_" not in fields[0]:
                raise UserError(f"{path}: expected 'breed_number class species breed', found {line!r:.80}")
            breed = fields[0].rpartition("_")[0].lower()
            items.append(Item(f"{fields[0]}.jpg", int(fields[1]) - 1, breed))
        return items
