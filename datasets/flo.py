"""Oxford Flowers with the zero-shot splits of Xian et al. (CVPR 2018, https://arxiv.org/abs/1712.00981): 82 seen, 20
unseen classes.
"""

from dassl.utils import read_json

from .core import DATASET_REGISTRY, GZSL


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
        self.names = read_json(self.path_of("cat_to_name.json"))
        sets, labels = self.read_mat("setid.mat"), self.read_mat("imagelabels.mat")["labels"].ravel()
        numbers = [int(number) for name in ("trnid", "valid", "tstid") for number in sets[name].ravel()]
        return [(f"image_{number:05d}.jpg", int(labels[number - 1])) for number in numbers]

    def class_name(self, key):
        return self.names[str(key)]
