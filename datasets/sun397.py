"""SUN397 (Xiao et al. 2010), https://vision.princeton.edu/projects/2010/SUN: 397 kinds of scenes."""

from .core import DATASET_REGISTRY, Item, Reader, read_lines, split_trainval


@DATASET_REGISTRY.register()
class SUN397(Reader):
    dataset_dir = "sun397"
    image_folder = "SUN397"
    split_file = "split_zhou_SUN397.json"

    def make_split(self):
        """The first of the published partitions; 20% of each class of its training images become val."""
        labels = {name.lstrip("/"): label for label, name in enumerate(read_lines(self.path_of("ClassName.txt")))}

        def item(line):
            """Of '/a/abbey/sun_x.jpg'. Class a/athletic_field/outdoor is 'outdoor athletic_field'."""
            image = line.lstrip("/")
            folder = image.rpartition("/")[0]
            return Item(image, labels[folder], " ".join(reversed(folder.split("/")[1:])))

        expected = "'/letter/class/image' with a class of ClassName.txt"
        return split_trainval(*self.read_lists(("Training_01.txt", "Testing_01.txt"), item, expected))
