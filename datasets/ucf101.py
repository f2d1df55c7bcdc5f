"""UCF101 (Soomro et al. 2012), https://www.crcv.ucf.edu/data/UCF101.php: 101 actions, by the middle frame of each
video.
"""

import re

from .core import DATASET_REGISTRY, Item, Reader, split_trainval


@DATASET_REGISTRY.register()
class UCF101(Reader):
    dataset_dir = "ucf101"
    image_folder = "UCF-101-midframes"
    split_file = "split_zhou_UCF101.json"

    def make_split(self):
        """The first of the published partitions; 20% of each class of its training videos become val."""

        def action(line):
            number, name = line.split(" ", 1)
            return name, int(number) - 1

        def item(line):
            """Of 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1': frame Apply_Eye_Makeup/v_..._c01.jpg."""
            action, video = re.fullmatch(r"([^/ ]+)/([^ ]+)\.avi( .*)?", line).group(1, 2)
            name = "_".join(re.findall("[A-Z][^A-Z]*", action))
            return Item(f"{name}/{video}.jpg", labels[action], name)

        files = [f"ucfTrainTestlist/{name}.txt" for name in ("classInd", "trainlist01", "testlist01")]
        labels = dict(*self.read_lists(files[:1], action, "'number action'"))
        expected = "'action/video.avi' with an action of classInd.txt"
        return split_trainval(*self.read_lists(files[1:], item, expected))
