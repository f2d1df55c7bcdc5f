"""FGVC-Aircraft (Maji et al. 2013), https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft: 100 variants of aircraft."""

from .core import DATASET_REGISTRY, PARTS, Item, Reader, Split, read_lines


@DATASET_REGISTRY.register()
class FGVCAircraft(Reader):
    """The published train, val and test lists are the split; there is no split file."""

    dataset_dir = "fgvc_aircraft"
    image_folder = "images"

    def make_split(self):
        labels = {name: label for label, name in enumerate(read_lines(self.path_of("variants.txt")))}

        def item(line):
            image, variant = line.split(" ", 1)
            return Item(f"{image}.jpg", labels[variant], variant)

        files = (f"images_variant_{part}.txt" for part in PARTS)
        return Split(*self.read_lists(files, item, "'image variant' with a variant of variants.txt"))
