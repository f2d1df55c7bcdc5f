"""FGVC-Aircraft (Maji et al. 2013), https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft: 100 variants of aircraft."""

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError

from .benchmark import Benchmark
from .files import read_lines
from .splits import PARTS, Item, Split


@DATASET_REGISTRY.register()
class FGVCAircraft(Benchmark):
    """The published train, val and test lists are the split; there is no split file."""

    dataset_dir = "fgvc_aircraft"
    image_folder = "images"
    template = "a photo of a {}, a type of aircraft."

    def make_split(self):
        labels = {name: label for label, name in enumerate(read_lines(self.path_of("variants.txt")))}
        return Split(*(self.read_list(f"images_variant_{part}.txt", labels) for part in PARTS))

    def read_list(self, name, labels):
        """Items of lines '1025794 707-320': image, variant."""
        path = self.path_of(name)
        items = []
        for line in read_lines(path):
            image, _, variant = line.partition(" ")
            if variant not in labels:
                raise UserError(f"{path}: expected 'image variant' with a variant of variants.txt, found {line!r:.80}")
            items.append(Item(f"{image}.jpg", labels[variant], variant))
        return items
