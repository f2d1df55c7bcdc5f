"""UCF101 (Soomro et al. 2012), https://www.crcv.ucf.edu/data/UCF101.php: 101 actions, by the middle frame of each
video.
"""

import re

from .core import DATASET_REGISTRY, Item, Reader, split_classes


@DATASET_REGISTRY.register()
class UCF101(Reader):
    dataset_dir = "ucf101"
    image_folder = "UCF-101-midframes"
    split_file = "split_zhou_UCF101.json"

    def make_split(self):
        """The first of the published partitions; 20% of each class of its training videos become val."""
        rows = [line.split(" ", 1) for line in self.read_lines("ucfTrainTestlist/classInd.txt")]
        labels = {action: int(number) - 1 for number, action in rows}

        def item(line):
            """Of 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1': frame Apply_Eye_Makeup/v_..._c01.jpg."""
            action, video = re.match(r"([^/ ]+)/([^ ]+)\.avi", line).groups()
            name = "_".join(re.findall("[A-Z][^A-Z]*", action))
            return Item(f"{name}/{video}.jpg", labels[action], name)

        files = [f"ucfTrainTestlist/{name}.txt" for name in ("trainlist01", "testlist01")]
        train, test = (list(map(item, self.read_lines(file))) for file in files)
        return split_classes(train, test=test)
