"""ImageNetV2, matched frequency (Recht et al. 2019), https://github.com/modestyachts/ImageNetV2: new test images of
ImageNet's classes.
"""

from dassl.data.datasets import DATASET_REGISTRY

from .imagenet import ImageNetTest


@DATASET_REGISTRY.register()
class ImageNetV2(ImageNetTest):
    dataset_dir = "imagenetv2"
    image_folder = "imagenetv2-matched-frequency-format-val"

    def named_folders(self, below=""):
        """Folders are named by label, 0 to 999, in the order of the sorted WordNet ids."""
        return {str(label): name for label, name in enumerate(self.known_names().values())}
