"""SUN397 (Xiao et al. 2010), https://vision.princeton.edu/projects/2010/SUN: 397 kinds of scenes."""

from .core import DATASET_REGISTRY, Item, Reader, split_classes


@DATASET_REGISTRY.register()
class SUN397(Reader):
    dataset_dir = "sun397"
    image_folder = "SUN397"
    split_file = "split_zhou_SUN397.json"

    def make_split(self):
        """The first of the published partitions; 20% of each class of its training images become val."""
        labels = {name.lstrip("/"): label for label, name in enumerate(self.read_lines("ClassName.txt"))}

        def item(line):
            """Of '/a/abbey/sun_x.jpg'. Class a/athletic_field/outdoor is 'outdoor athletic_field'."""
            image = line.lstrip("/")
            folder = image.rpartition("/")[0]
            return Item(image, labels[folder], " ".join(reversed(folder.split("/")[1:])))

        train, test = (list(map(item, self.read_lines(name))) for name in ("Training_01.txt", "Testing_01.txt"))
        return split_classes(train, test=test)
