"""ImageNet-Sketch (Wang et al. 2019), https://github.com/HaohanWang/ImageNet-Sketch: sketches of ImageNet's classes."""

from dassl.data.datasets import DATASET_REGISTRY

from .imagenet import ImageNetTest


@DATASET_REGISTRY.register()
class ImageNetSketch(ImageNetTest):
    dataset_dir = "imagenet-sketch"
    image_folder = "images"
