"""Describable Textures (Cimpoi et al. 2014), https://www.robots.ox.ac.uk/~vgg/data/dtd: 47 textures."""

from .core import DATASET_REGISTRY, Reader


@DATASET_REGISTRY.register()
class DescribableTextures(Reader):
    dataset_dir = "dtd"
    image_folder = "images"
    split_file = "split_zhou_DescribableTextures.json"
