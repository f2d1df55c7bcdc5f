"""Oxford Flowers with the zero-shot splits of Xian et al. (CVPR 2018, https://arxiv.org/abs/1712.00981): 82 seen, 20
unseen classes.
"""

from dassl.utils import read_json

from .core import DATASET_REGISTRY, GZSL, explained, read_mat


@DATASET_REGISTRY.register()
class FLO(GZSL):
    dataset_dir = "oxford_flowers"
    image_folder = "jpg"
    splits_folder = "xlsa17/data/FLO"

    def image_order(self):
        """The published training, validation and test lists of setid.mat, one after the other (not the order of the
        file names).

        Class keys are the labels of imagelabels.mat, counted from 1.
        """
        paths = [self.path_of(name) for name in ("setid.mat", "imagelabels.mat", "cat_to_name.json")]
        self.names = read_json(paths[2])
        with explained(f"{paths[0]} and {paths[1]} do not belong together"):
            sets, labels = read_mat(paths[0]), read_mat(paths[1])["labels"].ravel()
            numbers = [int(number) for name in ("trnid", "valid", "tstid") for number in sets[name].ravel()]
            return [(f"image_{number:05d}.jpg", int(labels[number - 1])) for number in numbers]

    def class_name(self, key):
        with explained(f"{self.dataset_dir}/cat_to_name.json has no name for class {key}"):
            return self.names[str(key)]
