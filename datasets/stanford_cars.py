"""Stanford Cars (Krause et al. 2013): 196 models of cars. The authors' page is gone; prepare/sources.yaml says where
it can be had.
"""

from .core import DATASET_REGISTRY, Item, Reader, split_classes


@DATASET_REGISTRY.register()
class StanfordCars(Reader):
    dataset_dir = "stanford_cars"  # paths of the split start with cars_train/ or cars_test/
    split_file = "split_zhou_StanfordCars.json"

    def make_split(self):
        """Test as published; 20% of each class of the published training images become val."""
        return split_classes(
            self.read_annotations("cars_train", "devkit/cars_train_annos.mat"),
            test=self.read_annotations("cars_test", "cars_test_annos_withlabels.mat"),
        )

    def read_annotations(self, folder, file):
        """Items of an annotation file. Names put the year first: 'Acura RL Sedan 2012' is '2012 Acura RL Sedan'."""
        names = []
        for name in self.read_mat("devkit/cars_meta.mat")["class_names"].ravel():
            model, _, year = str(name[0]).rpartition(" ")
            names.append(f"{year} {model}")
        rows = self.read_mat(file)["annotations"].ravel()
        rows = [(str(row["fname"][0]), int(row["class"].item()) - 1) for row in rows]
        return [Item(f"{folder}/{image}", label, names[label]) for image, label in rows]
