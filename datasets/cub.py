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

        def row(line):
            image = line.split()[1]
            return image, image.split("/")[-2]

        return self.read_lists(["images.txt"], row, "'number class/image'")[0]
