"""Describable Textures (Cimpoi et al. 2014), https://www.robots.ox.ac.uk/~vgg/data/dtd: 47 textures."""

from dassl.data.datasets import DATASET_REGISTRY

from .benchmark import Benchmark


@DATASET_REGISTRY.register()
class DescribableTextures(Benchmark):
    dataset_dir = "dtd"
    image_folder = "images"
    split_file = "split_zhou_DescribableTextures.json"
    template = "{} texture."

    def make_split(self):
        return self.split_folders()
