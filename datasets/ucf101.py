"""UCF101 (Soomro et al. 2012), https://www.crcv.ucf.edu/data/UCF101.php: 101 actions, by the middle frame of each
video.
"""

import random
import re

from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError

from .benchmark import SPLIT_SEED, Benchmark
from .files import read_lines
from .splits import Item, Split, split_trainval


@DATASET_REGISTRY.register()
class UCF101(Benchmark):
    dataset_dir = "ucf101"
    image_folder = "UCF-101-midframes"
    split_file = "split_zhou_UCF101.json"
    template = "a photo of a person doing {}."

    def make_split(self):
        """The first of the published partitions; 20% of each class of its training videos become val."""
        path = self.path_of("ucfTrainTestlist", "classInd.txt")
        labels = {}
        for line in read_lines(path):
            number, _, action = line.partition(" ")
            if not number.isdecimal() or not action:
                raise UserError(f"{path}: expected 'number action', found {line!r:.80}")
            labels[action] = int(number) - 1
        train, val = split_trainval(self.read_list("trainlist01.txt", labels), random.Random(SPLIT_SEED))
        return Split(train, val, self.read_list("testlist01.txt", labels))

    def read_list(self, name, labels):
        """Items of lines 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1', as frames Apply_Eye_Makeup/v_..._c01.jpg."""
        path = self.path_of("ucfTrainTestlist", name)
        items = []
        for line in read_lines(path):
            action, _, video = line.split(" ")[0].partition("/")
            if action not in labels or not video.endswith(".avi"):
                raise UserError(
                    f"{path}: expected 'action/video.avi' with an action of classInd.txt, found {line!r:.80}"
                )
            name = "_".join(re.findall("[A-Z][^A-Z]*", action))
            items.append(Item(f"{name}/{video.removesuffix('.avi')}.jpg", labels[action], name))
        return items
