"""Animals with Attributes 2 (Xian et al. 2018), https://cvml.ista.ac.at/AwA2: 50 animals; zero-shot splits: 40 seen, 10
unseen.
"""

from .core import DATASET_REGISTRY, GZSL, explained, read_mat


@DATASET_REGISTRY.register()
class AWA2(GZSL):
    dataset_dir = "Animals_with_Attributes2"
    image_folder = "JPEGImages"
    splits_folder = "xlsa17/data/AWA2"

    def image_order(self):
        """As in res101.mat, whose image_files end in 'antelope/antelope_10001.jpg'."""
        path = self.splits_path("res101.mat")
        with explained(f"{path} has no usable image_files"):
            files = [str(entry[0]) for entry in read_mat(path, ["image_files"])["image_files"].ravel()]
            steps = [file.replace("\\", "/").split("/")[-2:] for file in files]
            return [(f"{folder}/{image}", folder) for folder, image in steps]
