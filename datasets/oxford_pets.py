"""Oxford-IIIT Pets (Parkhi et al. 2012), https://www.robots.ox.ac.uk/~vgg/data/pets: 37 breeds of cats and dogs."""

from .core import DATASET_REGISTRY, Item, Reader, split_trainval


@DATASET_REGISTRY.register()
class OxfordPets(Reader):
    dataset_dir = "oxford_pets"
    image_folder = "images"
    split_file = "split_zhou_OxfordPets.json"

    def make_split(self):
        """Test as published; 20% of each class of the published trainval become val."""

        def item(line):
            """Of 'Abyssinian_100 1 1 1': image and class, the class counted from 1."""
            image, label, _, _ = line.split()
            breed, _ = image.rsplit("_", 1)
            return Item(f"{image}.jpg", int(label) - 1, breed.lower())

        files = ("annotations/trainval.txt", "annotations/test.txt")
        return split_trainval(*self.read_lists(files, item, "'breed_number class species breed'"))
