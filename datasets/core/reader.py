"""The base of all readers: finds the data, loads the split, draws the few-shot images, picks base or new classes.

The way through `__init__`: split (of a file, of folders, or of a bank's header) -> few-shot selection -> base/new ->
lists of Datum.
"""

import os
from collections import Counter

from dassl.data.datasets import DatasetBase
from dassl.utils import UserError, write_json

from trainers.core.files import first_five, plain
from trainers.core.folders import list_images

from . import lists, sampling, splits
from .bank import read_bank_split
from .files import list_folders, missing_files, parse_lines, require_writable
from .splits import Item


class Reader(DatasetBase):
    """One dataset in CoOp's layout.

    After construction: train_x, val, test (lists of Datum), classnames, all_classnames, image_dir ('' with a bank),
    split_hash, fewshot_source. Raises UserError for missing or unusable data.
    """

    dataset_dir = ""  # below DATASET.ROOT
    image_folder = ""  # below dataset_dir; paths of the split are relative to it
    split_file = ""  # below dataset_dir; '' for datasets whose own files fix the split
    template = ""  # hand-written prompt of your own reader; those of known sets: trainers/core/model/prompts.py
    needs_train = True  # whether each class has training images; not in test sets, nor in zero-shot learning
    folder_names = {}  # {class folder: class name} where they differ
    ignored_folders = ()  # class folders to leave out
    keeps_selection = True  # whether a few-shot draw is kept beside the images, as CoOp does
    left_out = None  # a list collects the names of files that are no images

    def __init__(self, cfg):
        bank = cfg.get("FEATURES", {}).get("BANK", "")
        if bank:
            self.dataset_dir = self.image_dir = ""
            self._whole = lambda: read_bank_split(bank, type(self).__name__, self.needs_train)[0]  # a million items
            split, self.split_hash = read_bank_split(bank, type(self).__name__, self.needs_train)
        else:
            self.locate(cfg.DATASET.ROOT)
            split = self.load_split()
            self.split_hash = splits.split_hash(split)
            self._whole = lambda: split
        self.all_classnames = splits.class_names(split)
        repeated = [name for name, count in Counter(map(plain, self.all_classnames)).items() if count > 1]
        if repeated:
            print(f"{len(repeated)} class names stand for more than one class: {first_five(repeated)}")
        selected = self.select_fewshot(split, cfg.DATASET.NUM_SHOTS, cfg.SEED)
        self._half = cfg.DATASET.get("SUBSAMPLE_CLASSES", "all"), cfg.DATASET.get("HALVES_SEED", -1)
        train, val, test = splits.subsample(selected, *self._half)
        self._drawn = {item.path for item in train}
        train, val, test = (sampling.to_datums(part, self.image_dir) for part in (train, val, test))
        # Sets for testing only have no training images; as in CoOp, a stock DataManager gets their test images instead.
        super().__init__(train_x=train or test, val=val, test=test)

    @property
    def unused_train(self):
        """Training images (Datum) of the kept classes that the few-shot selection left over, labelled as train_x; []
        where it took all.
        """
        items = splits.subsample(self._whole(), *self._half).train
        return sampling.to_datums([item for item in items if item.path not in self._drawn], self.image_dir)

    def locate(self, root):
        """Sets the folders for DATASET.ROOT `root`."""
        if not root:
            raise UserError("DATASET.ROOT (--root) is not set: the folder that holds the datasets' folders")
        self.root = os.path.abspath(os.path.expanduser(root))
        self.dataset_dir = os.path.normpath(os.path.join(self.root, self.dataset_dir))
        self.image_dir = os.path.normpath(os.path.join(self.dataset_dir, self.image_folder))
        self.split_path = os.path.join(self.dataset_dir, self.split_file)

    @classmethod
    def examine(cls, root):
        """Split that a run below `root` would use, found without writing anything. Raises UserError."""
        reader = cls.__new__(cls)
        reader.locate(root)
        return reader.find_split()

    def load_split(self):
        """Split of the dataset; one that had to be made is kept in the split file if the folder is writable."""
        made = self.split_file and not os.path.exists(self.split_path)
        split = self.find_split()
        if made:
            print(f"{self.split_path} was missing: made a split of {self.image_dir} (seed {splits.SPLIT_SEED})")
            self.keep("split", os.path.dirname(self.split_path), write_json, split._asdict(), self.split_path)
        return split

    def find_split(self):
        """Split of the split file, else a new one. Raises UserError where images of it are missing."""
        self.require(self.image_dir)
        if self.split_file and os.path.exists(self.split_path):
            print(f"Reading split from {self.split_path}")
            split, source = splits.read_split(self.split_path, self.needs_train), self.split_path
        else:
            source = self.dataset_dir
            split = splits.check_split(self.make_split()._asdict(), source, self.needs_train)
        self.check_images(split, source)
        return split

    def check_images(self, split, source):
        """Raises UserError where images of the split, which comes from `source`, are missing."""
        missing = missing_files(self.image_dir, [item.path for item in split.items()])
        if missing:
            raise UserError(
                f"{source} names {len(missing)} images that are not in {self.image_dir}: {first_five(missing)}."
                f"{self.how_to_get()}"
            )

    def make_split(self):
        """Split by the dataset's own files; here 50/20/30 of one folder a class. Where CoOp splits at random, so does
        this, but with a seed of its own.
        """
        folders = [folder for folder in list_folders(self.image_dir) if folder not in self.ignored_folders]
        return splits.split_classes(self.read_folders({name: self.folder_names.get(name, name) for name in folders}))

    def select_fewshot(self, split, shots, seed):
        """`split` with train and val cut to a selection: the user's pickle, else the shared list, else a draw, which is
        kept. `fewshot_source` says which; the file of a draw that was kept counts as the draw.
        """
        if shots < 1 or not split.train:
            self.fewshot_source = "all training images"
            return split
        small = sampling.small_classes(split, shots)
        if small:
            share = f"{len(small)} of {len(self.all_classnames)} classes"
            print(f"{share} have fewer than {shots} training images and keep all of theirs: {first_five(small)}")
        shipped = lists.find(type(self).__name__, self.split_hash, seed, shots)
        train, val = lists.read(shipped, split, shots) if shipped else sampling.draw(split, shots, seed)
        self.fewshot_source = os.path.basename(shipped) or "sampled"
        path = self.selection_path(shots, seed)
        if path and os.path.exists(path):  # the user's file stays as it is
            try:
                given = sampling.read_pickle(path, split, shots)
                if given != (train, val):  # else it is what an earlier run kept, and says nothing new
                    (train, val), self.fewshot_source = given, path
            except UserError as error:
                print(f"Few-shot file ignored: {error}")
        elif path and self.keeps_selection:
            self.keep("few-shot images", self.dataset_dir, sampling.write_pickle, path, train, val, self.image_dir)
        print(f"Few-shot images: {self.fewshot_source} ({shots} shots, seed {seed})")
        return split._replace(train=train, val=val)

    def selection_path(self, shots, seed):
        """Where a few-shot selection may lie, as CoOp keeps it; "" for a bank, which has no folder, and for unseeded
        runs, which draw anew."""
        name = f"shot_{shots}-seed_{seed}.pkl"
        return os.path.join(self.dataset_dir, "split_fewshot", name) if self.dataset_dir and seed >= 0 else ""

    def keep(self, what, folder, write, *arguments):
        """Calls `write` if `folder` can be written to; says so if not. What is kept can always be made again."""
        try:
            os.makedirs(folder, exist_ok=True)
            require_writable(folder)
            write(*arguments)
        except OSError as error:
            print(f"The {what} could not be kept in {folder} ({error.strerror}); later runs make the same one")

    def require(self, path):
        """Raises UserError with the way to get the data unless `path` exists."""
        if not os.path.exists(path):
            raise UserError(f"{type(self).__name__}: expected {path}, which does not exist.{self.how_to_get()}")

    def how_to_get(self):
        return f"\nTo get it: python scripts/data.py prepare {type(self).__name__} --root {self.root}"

    def path_of(self, *steps):
        """Path of one of the dataset's own files, which must exist."""
        path = os.path.join(self.dataset_dir, *steps)
        self.require(path)
        return path

    def read_lists(self, files, parse, expected):
        """For each of the dataset's own text files, `parse(line)` of its lines, which must have the `expected` form."""
        return [parse_lines(self.path_of(file), parse, expected) for file in files]

    def read_folders(self, names, below=""):
        """Items of the class folders image_dir/below/<folder>, labelled in the order of `names` (folder -> name)."""
        items = []
        for label, (folder, name) in enumerate(names.items()):
            items += self.read_folder(f"{below}/{folder}".lstrip("/"), label, name)
        return items

    def read_folder(self, folder, label, name):
        """Items of all images in image_dir/folder and the folders below it."""
        top = os.path.join(self.image_dir, folder)
        images = list_images(top, self.left_out)
        if not images:
            raise UserError(f"{top} holds no images that Pillow reads, but each folder there is a class")
        return [Item(f"{folder}/{image}", label, name) for image in images]
