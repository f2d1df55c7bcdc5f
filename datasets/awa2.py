"""Animals with Attributes 2 (Xian et al. 2018), https://cvml.ista.ac.at/AwA2: 50 animals; zero-shot splits: 40 seen, 10
unseen.
"""

from .core import DATASET_REGISTRY, GZSL


@DATASET_REGISTRY.register()
class AWA2(GZSL):
    dataset_dir = "Animals_with_Attributes2"
    image_folder = "JPEGImages"
    splits_folder = "xlsa17/data/AWA2"

    def image_order(self):
        """As in res101.mat, whose image_files end in 'antelope/antelope_10001.jpg'."""
        table = self.read_mat(self.root, self.splits_folder, "res101.mat", variable_names=["image_files"])
        steps = [str(entry[0]).replace("\\", "/").split("/")[-2:] for entry in table["image_files"].ravel()]
        return [(f"{folder}/{image}", folder) for folder, image in steps]
