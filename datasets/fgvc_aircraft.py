"""FGVC-Aircraft (Maji et al. 2013), https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft: 100 variants of aircraft."""

from .core import DATASET_REGISTRY, PARTS, Item, Reader, Split


@DATASET_REGISTRY.register()
class FGVCAircraft(Reader):
    """The published train, val and test lists are the split; there is no split file."""

    dataset_dir = "fgvc_aircraft"
    image_folder = "images"

    def make_split(self):
        labels = {name: label for label, name in enumerate(self.read_lines("variants.txt"))}

        def items(part):
            rows = [line.split(" ", 1) for line in self.read_lines(f"images_variant_{part}.txt")]
            return [Item(f"{image}.jpg", labels[variant], variant) for image, variant in rows]

        return Split(*map(items, PARTS))
