"""Stanford Cars (Krause et al. 2013): 196 models of cars. The authors' page is gone; see DATASETS.md for where it can
be had.
"""

from .core import DATASET_REGISTRY, Item, Reader, explained, read_mat, split_trainval


@DATASET_REGISTRY.register()
class StanfordCars(Reader):
    dataset_dir = "stanford_cars"  # paths of the split start with cars_train/ or cars_test/
    split_file = "split_zhou_StanfordCars.json"

    def make_split(self):
        """Test as published; 20% of each class of the published training images become val."""
        return split_trainval(
            self.read_annotations("cars_train", "devkit", "cars_train_annos.mat"),
            self.read_annotations("cars_test", "cars_test_annos_withlabels.mat"),
        )

    def read_annotations(self, folder, *steps):
        """Items of an annotation file. Names put the year first: 'Acura RL Sedan 2012' is '2012 Acura RL Sedan'."""
        path, names_path = self.path_of(*steps), self.path_of("devkit", "cars_meta.mat")
        with explained(f"{path} or {names_path} is not an annotation file of this dataset"):
            names = [str(name[0]).rpartition(" ") for name in read_mat(names_path)["class_names"].ravel()]
            names = [f"{year} {model}" for model, _, year in names]
            rows = read_mat(path)["annotations"].ravel()
            rows = [(str(row["fname"][0]), int(row["class"].item()) - 1) for row in rows]
            return [Item(f"{folder}/{file}", label, names[label]) for file, label in rows]
