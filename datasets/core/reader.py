"""The base of all readers: finds the data, loads the split, draws the few-shot images, picks base or new classes.

The way through `__init__`: split (of a file, of folders, or of a bank's header) -> few-shot selection -> base/new ->
lists of Datum.
"""

import os
from collections import Counter
from contextlib import suppress
from functools import cache

from dassl.data.datasets import DatasetBase, write_fewshot
from dassl.utils import UserError, write_json

from trainers.core.files import first_five, plain, read_names
from trainers.core.folders import entries, list_images

from . import fewshot, splits
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
    left_out = None  # a list collects the names of files that are no images

    def __init__(self, cfg):
        bank = cfg.get("FEATURES", {}).get("BANK", "")
        if bank:
            self.dataset_dir = self.image_dir = ""
            # read again when it is asked for: the items of a million images take much memory
            self._whole = lambda: splits.read_bank_split(bank, type(self).__name__, self.needs_train)[0]
            split, self.split_hash = splits.read_bank_split(bank, type(self).__name__, self.needs_train)
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
        train, val, test = (fewshot.to_datums(part, self.image_dir) for part in (train, val, test))
        # Sets for testing only have no training images; as in CoOp, a stock DataManager gets their test images instead.
        super().__init__(train_x=train or test, val=val, test=test)

    @property
    def unused_train(self):
        """Training images (Datum) of the kept classes that the few-shot selection left over, labelled as train_x; []
        where it took all.
        """
        items = splits.subsample(self._whole(), *self._half).train
        return fewshot.to_datums([item for item in items if item.path not in self._drawn], self.image_dir)

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
        return reader.load_split(keep=False)

    def load_split(self, keep=True):
        """Split of the split file, else a new one, which is kept there where the folder can be written to. Raises
        UserError where images of it are missing.
        """
        self.path_of(self.image_dir)
        exists = bool(self.split_file) and os.path.exists(self.split_path)
        if exists:
            print(f"Reading split from {self.split_path}")
            split = splits.read_split(self.split_path, self.needs_train)
        else:
            split = splits.check_split(self.make_split()._asdict(), self.dataset_dir, self.needs_train)
        self.check_images(split)
        if self.split_file and not exists and keep:
            print(f"{self.split_path} was missing: made a split of {self.image_dir} (seed {splits.SPLIT_SEED})")
            with suppress(OSError):  # of a folder that cannot be written to: later runs make the same split
                write_json(split._asdict(), self.split_path)
        return split

    def check_images(self, split):
        """Raises UserError where images of the split are missing. Lists each folder once, asks for no file."""

        @cache
        def names_in(folder):
            path = os.path.join(self.image_dir, folder)
            return {*os.listdir(path)} if os.path.isdir(path) else set()

        paths = [item.path for item in split.items()]
        missing = [path for path in paths if os.path.basename(path) not in names_in(os.path.dirname(path))]
        if missing:
            found = f"{len(missing)} images that are not in {self.image_dir}: {first_five(missing)}"
            raise UserError(f"the split of {self.dataset_dir} names {found}.{self.how_to_get()}")

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
        sizes = Counter(item.classname for item in split.train)
        small = [name for name, size in sizes.items() if size < shots]
        if small:
            print(f"{len(small)} classes have fewer than {shots} training images and keep theirs: {first_five(small)}")
        listed = fewshot.list_path(type(self).__name__, self.split_hash, seed)
        if shots in fewshot.LISTED_SHOTS and listed.exists():
            chosen, self.fewshot_source = fewshot.read_list(listed, split, shots), listed.name
        else:
            chosen, self.fewshot_source = fewshot.draw(split, shots, seed), "sampled"
        path = self.selection_path(shots, seed)
        if path and os.path.exists(path):  # the user's file stays as it is
            try:
                given = fewshot.read_pickle(path, split, shots)
                if given != chosen:  # else it is what an earlier run kept, and says nothing new
                    chosen, self.fewshot_source = given, path
            except UserError as error:
                print(f"Few-shot file ignored: {error}")
        elif path:
            with suppress(OSError):  # likewise
                write_fewshot(path, *(fewshot.to_datums(items, self.image_dir) for items in chosen))
        print(f"Few-shot images: {self.fewshot_source} ({shots} shots, seed {seed})")
        train, val = chosen
        return split._replace(train=train, val=val)

    def selection_path(self, shots, seed):
        """Where a few-shot selection may lie, as CoOp keeps it; "" for a bank, which has no folder, and for unseeded
        runs, which draw anew."""
        name = f"shot_{shots}-seed_{seed}.pkl"
        return os.path.join(self.dataset_dir, "split_fewshot", name) if self.dataset_dir and seed >= 0 else ""

    def how_to_get(self):
        return f"\nTo get it: python scripts/data.py prepare {type(self).__name__} --root {self.root}"

    def path_of(self, *steps):
        """Path of one of the dataset's own files. Raises UserError with the way to get it unless it exists."""
        path = os.path.join(self.dataset_dir, *steps)
        if not os.path.exists(path):
            raise UserError(f"{type(self).__name__}: expected {path}, which does not exist.{self.how_to_get()}")
        return path

    def read_lines(self, *steps):
        """Lines of one of the dataset's own text files, as all lists of names are read. Raises UserError."""
        return read_names(self.path_of(*steps), "the list")

    def read_mat(self, *steps, **options):
        """Variables of one of the dataset's own MATLAB files, as a dict of arrays."""
        from scipy.io import loadmat  # here, as few readers need it and the import takes a while

        return loadmat(self.path_of(*steps), **options)

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


def list_folders(folder):
    """Sorted names of the folders in `folder` that are not hidden. Raises UserError."""
    return [entry.name for entry in entries(folder) if entry.is_dir() and not entry.name.startswith(".")]
