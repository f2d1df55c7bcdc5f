"""Stanford Cars (Krause et al. 2013): 196 models of cars. The authors' page is gone; see DATASETS.md for where it can
be had.
"""

import random

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError

from .benchmark import SPLIT_SEED, Benchmark
from .files import read_mat
from .splits import Item, Split, split_trainval


@DATASET_REGISTRY.register()
class StanfordCars(Benchmark):
    dataset_dir = "stanford_cars"  # paths of the split start with cars_train/ or cars_test/
    split_file = "split_zhou_StanfordCars.json"

    def make_split(self):
        """Test as published; 20% of each class of the published training images become val."""
        train, val = split_trainval(
            self.read_annotations("cars_train", "devkit", "cars_train_annos.mat"), random.Random(SPLIT_SEED)
        )
        return Split(train, val, self.read_annotations("cars_test", "cars_test_annos_withlabels.mat"))

    def read_annotations(self, folder, *steps):
        """Items of an annotation file. Names put the year first: 'Acura RL Sedan 2012' is '2012 Acura RL Sedan'."""
        path, names_path = self.path_of(*steps), self.path_of("devkit", "cars_meta.mat")
        try:
            names = [str(name[0]) for name in read_mat(names_path)["class_names"].ravel()]
            names = [f"{name.rpartition(' ')[2]} {name.rpartition(' ')[0]}" for name in names]
            rows = [
                (str(row["fname"][0]), int(row["class"].item()) - 1) for row in read_mat(path)["annotations"].ravel()
            ]
            return [Item(f"{folder}/{file}", label, names[label]) for file, label in rows]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path} or {names_path} is not an annotation file of this dataset: {error!r}") from None
