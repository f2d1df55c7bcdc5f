"""Food-101 (Bossard et al. 2014), https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101: 101 dishes."""

from .core import DATASET_REGISTRY, Reader


@DATASET_REGISTRY.register()
class Food101(Reader):
    dataset_dir = "food-101"
    image_folder = "images"
    split_file = "split_zhou_Food101.json"
