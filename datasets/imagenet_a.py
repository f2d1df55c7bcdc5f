"""ImageNet-A (Hendrycks et al. 2021), https://github.com/hendrycks/natural-adv-examples: 200 classes, images that
ResNets get wrong.
"""

from dassl.data.datasets import DATASET_REGISTRY

from .imagenet import ImageNetTest


@DATASET_REGISTRY.register()
class ImageNetA(ImageNetTest):
    dataset_dir = "imagenet-adversarial"
    image_folder = "imagenet-a"
