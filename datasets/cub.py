"""CUB-200-2011 (Wah et al. 2011), https://data.caltech.edu/records/65de6-vp158: 200 birds; zero-shot splits: 150 seen,
50 unseen.
"""

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError

from .core import GZSL, read_lines


@DATASET_REGISTRY.register()
class CUB(GZSL):
    dataset_dir = "CUB_200_2011"
    image_folder = "images"
    splits_folder = "xlsa17/data/CUB"

    def image_order(self):
        """As in images.txt: lines '1 001.Black_footed_Albatross/image.jpg'."""
        path = self.path_of("images.txt")
        rows = []
        for line in read_lines(path):
            number, _, image = line.partition(" ")
            if number != str(len(rows) + 1) or "/" not in image:
                raise UserError(f"{path}: expected '{len(rows) + 1} class/image', found {line!r:.80}")
            rows.append((image, image.partition("/")[0]))
        return rows
