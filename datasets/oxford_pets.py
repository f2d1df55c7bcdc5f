"""Oxford-IIIT Pets (Parkhi et al. 2012), https://www.robots.ox.ac.uk/~vgg/data/pets: 37 breeds of cats and dogs."""

from .core import DATASET_REGISTRY, Item, Reader, split_classes


@DATASET_REGISTRY.register()
class OxfordPets(Reader):
    dataset_dir = "oxford_pets"
    image_folder = "images"
    split_file = "split_zhou_OxfordPets.json"

    def make_split(self):
        """Test as published; 20% of each class of the published trainval become val."""
        return split_classes(self.read_annotations("trainval.txt"), test=self.read_annotations("test.txt"))

    def read_annotations(self, file):
        """Items of lines 'Abyssinian_100 1 1 1': image, class counted from 1, species, breed."""
        items = []
        for line in self.read_lines("annotations", file):
            image, label, _, _ = line.split()
            items.append(Item(f"{image}.jpg", int(label) - 1, image.rpartition("_")[0].lower()))
        return items
