"""What a folder of images may look like: a folder per class, perhaps below train/, val/ and test/.

The one place that decides it, for the reader of own folders (datasets/folder.py) and the Python API. Nothing here needs
PyTorch.
"""

import os
import re
from functools import cache

from PIL import Image

from .files import UserError, first_five, plain, require_different

SPLITS = {
    "train": "train|training|trn",
    "val": "val|valid|validation|validate|dev",
    "test": "test|testing|tst|eval|evaluation|holdout",
}
AROUND = r"(?:[\W_]|\d|set|data|images?|imgs?|split|folder)*"  # of the words above: 01_train, trainset, val2017
# Left by systems and programs, whatever their case; so is what begins with a dot.
SYSTEM = "__macosx|__pycache__|@eadir|#recycle|#snapshot|\\$recycle.bin|recycler|system volume information|lost\\+found"
SYSTEM += "|_?thumbs(\\.db)?|_?thumbnails|desktop.ini|node_modules|split_fewshot|features_cache"
# Formats that Pillow knows by name, but does not decode by itself.
NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
EXPECTED = "expected a folder of images per class, directly or below train/ and test/ (val/ is optional)"


@cache
def image_suffixes() -> tuple[str, ...]:
    """Suffixes of the files that Pillow reads, in lower case."""
    known = Image.registered_extensions().items()
    readable = {*Image.OPEN, "MPO"} - NO_PICTURES  # .mpo opens as a JPEG
    return tuple(sorted(suffix for suffix, form in known if form in readable))


def is_system(name: str) -> bool:
    return name.startswith(".") or re.fullmatch(SYSTEM, name.lower()) is not None


def is_image(entry: os.DirEntry) -> bool:
    return entry.name.lower().endswith(image_suffixes()) and not is_system(entry.name) and not entry.is_dir()


def entries(folder: str) -> list[os.DirEntry]:
    """What `folder` holds, sorted by name."""
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def list_images(folder: str, others: list[str] | None = None) -> list[str]:
    """Paths, relative to `folder`, of the images in it, sorted, then of those in its folders; hidden files and what
    systems leave are none.

    `others` gets the names of what is no image that Pillow reads, and of linked folders, which could lead back here.
    """
    images, below = [], []
    for entry in entries(folder):
        if is_system(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            below += [f"{entry.name}/{image}" for image in list_images(entry.path, others)]
        elif is_image(entry):
            images.append(entry.name)
        elif others is not None:
            others.append(entry.name)
    return images + below


def read_layout(top: str) -> dict[str, dict[str, str]]:
    """{train, val, test: {class name: its folder, relative to `top`}}, or {"": ...} where there are no such parts. Says
    what was left out, or entered. Raises UserError where it is not clear which folders are classes."""
    folders = _enter(top, "")
    parts = _parts(top, folders)
    if not parts:
        return {"": _classes(top, folders)}
    found = {part: _classes(top, _enter(top, path)) for part, path in parts.items()}
    known = {plain(name): name for name in found["train"]}  # its names are those of the classes in every part
    for classes in found.values():
        strange = [folder for name, folder in classes.items() if plain(name) not in known]
        if strange:
            raise UserError(
                f"{top}: {first_five(strange)} is no class of the training images ({first_five(found['train'])})"
            )
    return {part: {known[plain(name)]: path for name, path in classes.items()} for part, classes in found.items()}


def _enter(top, folder):
    """The folders in `folder`. One that is alone there, and holds folders, is entered: archives have such a wrapper."""
    here, folders = entries(os.path.join(top, folder)), _folders(top, folder)
    left_out = [entry.name for entry in here if entry.is_dir() and is_system(entry.name)]
    images = sum(map(is_image, here))
    if left_out:
        print(f"{top}: left out of {folder or top}, as they are no classes: {first_five(left_out)}")
    if images:
        print(f"{top}: left out of {folder or top}: {images} images that lie beside the class folders")
    if len(folders) != 1 or _holds_images(top, folders[0]) or not _folders(top, folders[0]):
        return folders
    print(f"{top}: {folders[0]}/ is the only folder there: what is in it are the classes, or train/ and test/")
    return _enter(top, folders[0])


def _folders(top, folder):
    """Paths of the folders in `folder`, relative to `top`, without those that systems leave."""
    found = entries(os.path.join(top, folder))
    return [f"{folder}/{entry.name}".lstrip("/") for entry in found if entry.is_dir() and not is_system(entry.name)]


def _parts(top, folders):
    """{part: its folder}; {} where the folders are classes. A class of vehicles may be called "train": it holds its
    images itself."""
    named = {folder: part for folder, part in zip(folders, _part_names(folders)) if part}
    flat = any(_holds_images(top, folder) for folder in named)
    if not named or ([*named.values()] == ["train"] and flat and len(folders) > 1):
        return {}
    parts, others = {part: folder for folder, part in named.items()}, [path for path in folders if path not in named]
    beside = any(list_images(os.path.join(top, folder)) for folder in others)
    if flat or beside or len(parts) < len(named) or "train" not in parts:
        raise UserError(
            f"{top}: it is not clear whether {first_five(folders)} are classes or parts of a split; {EXPECTED}"
        )
    if others:
        print(f"{top}: left out, as no image is in them: {first_five(others)}")
    return parts


def _part_names(folders):
    """For each folder train, val or test, where it is called so in any usual spelling, else "". What all names begin
    with does not count: seg_train, seg_test."""
    names = [os.path.basename(folder).lower() for folder in folders]
    common = re.sub(r"[^_\-. ]*$", "", os.path.commonprefix(names))
    for name in names:
        word = name.removeprefix(common)
        yield next((part for part in SPLITS if re.fullmatch(f"{AROUND}(?:{SPLITS[part]}){AROUND}", word)), "")


def _classes(top, folders):
    """{class name: folder} of class folders. Raises UserError where they are fewer than two, mean the same class, or
    hold the classes below themselves."""
    names = [os.path.basename(path) for path in folders]
    if len(names) < 2:
        raise UserError(f"{top}: {f'there is only {folders[0]}' if folders else 'no folder per class'}; {EXPECTED}")
    require_different(names, (), f"{top}: two folders mean the same class")
    below = [plain(os.path.basename(folder)) for path in folders for folder in _folders(top, path)]
    if len(below) > len({*below}) and not any(_holds_images(top, path) for path in folders):
        found = f"{first_five(folders)} hold no images, but folders of the same names ({first_five(below)})"
        raise UserError(f"{top}: {found}; {EXPECTED}")
    return dict(zip(names, folders))


def _holds_images(top, folder):
    return any(map(is_image, entries(os.path.join(top, folder))))
