"""Oxford Flowers 102 (Nilsback and Zisserman 2008), https://www.robots.ox.ac.uk/~vgg/data/flowers/102."""

from dassl.utils import read_json

from .core import DATASET_REGISTRY, Item, Reader, split_classes


@DATASET_REGISTRY.register()
class OxfordFlowers(Reader):
    dataset_dir = "oxford_flowers"
    image_folder = "jpg"
    split_file = "split_zhou_OxfordFlowers.json"

    def make_split(self):
        """50/20/30 of each class; the labels of imagelabels.mat and the names of cat_to_name.json count from 1."""
        names = read_json(self.path_of("cat_to_name.json"))
        labels = [int(label) for label in self.read_mat("imagelabels.mat")["labels"].ravel()]
        items = [Item(f"image_{i:05d}.jpg", label - 1, names[str(label)]) for i, label in enumerate(labels, 1)]
        return split_classes(items)
