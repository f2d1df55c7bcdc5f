"""Oxford Flowers 102 (Nilsback and Zisserman 2008), https://www.robots.ox.ac.uk/~vgg/data/flowers/102."""

from dassl.utils import read_json

from .core import DATASET_REGISTRY, Item, Reader, explained, read_mat, split_classes


@DATASET_REGISTRY.register()
class OxfordFlowers(Reader):
    dataset_dir = "oxford_flowers"
    image_folder = "jpg"
    split_file = "split_zhou_OxfordFlowers.json"

    def make_split(self):
        """50/20/30 of each class; the labels of imagelabels.mat and the names of cat_to_name.json count from 1."""
        labels_path, names_path = self.path_of("imagelabels.mat"), self.path_of("cat_to_name.json")
        with explained(f"{labels_path} and {names_path} do not belong together"):
            names = read_json(names_path)
            labels = [int(label) for label in read_mat(labels_path)["labels"].ravel()]
            items = [Item(f"image_{i + 1:05d}.jpg", label - 1, names[str(label)]) for i, label in enumerate(labels)]
        return split_classes(items)
