"""ImageNet-R (Hendrycks et al. 2021), https://github.com/hendrycks/imagenet-r: 200 classes in art, cartoons, toys and
the like.
"""

from dassl.data.datasets import DATASET_REGISTRY

from .imagenet import ImageNetTest


@DATASET_REGISTRY.register()
class ImageNetR(ImageNetTest):
    dataset_dir = "imagenet-rendition"
    image_folder = "imagenet-r"
