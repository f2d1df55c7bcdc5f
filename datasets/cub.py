"""CUB-200-2011 (Wah et al. 2011), https://data.caltech.edu/records/65de6-vp158: 200 birds; zero-shot splits: 150 seen,
50 unseen.
"""

from .core import DATASET_REGISTRY, GZSL


@DATASET_REGISTRY.register()
class CUB(GZSL):
    dataset_dir = "CUB_200_2011"
    image_folder = "images"
    splits_folder = "xlsa17/data/CUB"

    def image_order(self):
        """As in images.txt: lines '1 001.Black_footed_Albatross/image.jpg'."""
        images = [line.split()[1] for line in self.read_lines("images.txt")]
        return [(image, image.split("/")[0]) for image in images]
