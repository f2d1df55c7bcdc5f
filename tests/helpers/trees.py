"""Miniature data sets in their true layouts: the builders that the readers' tests and the rehearsal share.

Each writes images and a data set's own files below a root; sizes and names are the caller's.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

IMAGENET_V2 = "imagenetv2/imagenetv2-matched-frequency-format-val"
IMAGENET_VARIANTS = {
    "ImageNetSketch": "imagenet-sketch/images",
    "ImageNetA": "imagenet-adversarial/imagenet-a",
    "ImageNetR": "imagenet-rendition/imagenet-r",
}
SIZE = 8  # pixels a side


def add_images(folder, names):
    """Tiny decodable images `names` below `folder`, each a colour of its own with some noise."""
    for name in names:
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng([*name.encode()])
        pixels = draw.integers(0, 192, (1, 1, 3)) + draw.integers(0, 64, (SIZE, SIZE, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)


def add_flowers(root, labels, names):
    """Oxford Flowers' annotations: image i has labels[i], counted from 1; names {"1": name}. -> its folder"""
    top = Path(root) / "oxford_flowers"
    add_images(top / "jpg", [f"image_{i + 1:05d}.jpg" for i in range(len(labels))])
    savemat(top / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    (top / "cat_to_name.json").write_text(json.dumps(names))
    return top


def add_pets(root, lines):
    """Oxford Pets' annotations, {file: its lines}, and the images that they name. -> its folder"""
    top = Path(root) / "oxford_pets"
    (top / "annotations").mkdir(parents=True)
    for name, content in lines.items():
        (top / "annotations" / name).write_text("\n".join(content) + "\n")
        add_images(top / "images", [line.split()[0] + ".jpg" for line in content])
    return top


def add_aircraft(root, variants, per_part=1):
    """FGVC-Aircraft's lists, with `per_part` images of each variant in train, val and test. -> its folder"""
    top = Path(root) / "fgvc_aircraft"
    top.mkdir()
    (top / "variants.txt").write_text("\n".join(variants) + "\n")
    for part, start in (("train", 0), ("val", 1000), ("test", 2000)):
        lines = [f"{start + i:07d} {name}" for i, name in enumerate(name for name in variants for _ in range(per_part))]
        (top / f"images_variant_{part}.txt").write_text("\n".join(lines) + "\n")
        add_images(top / "images", [f"{line.split()[0]}.jpg" for line in lines])
    return top


def add_imagenet(root, wnids, train=6, val=2):
    """ImageNet's class folders with `train` training and `val` validation images each. -> its folder"""
    top = Path(root) / "imagenet"
    for wnid in wnids:
        add_images(top / "images" / "train" / wnid, [f"{wnid}_{i}.JPEG" for i in range(train)])
        add_images(top / "images" / "val" / wnid, [f"ILSVRC2012_val_{wnid}_{i}.JPEG" for i in range(val)])
    return top


def add_proposed_splits(root, name, trainval, test_seen, test_unseen):
    """att_splits.mat of a data set of the Proposed Splits; its lists count from 1. -> its folder"""
    top = Path(root) / "xlsa17" / "data" / name
    top.mkdir(parents=True, exist_ok=True)
    lists = {"trainval_loc": trainval, "test_seen_loc": test_seen, "test_unseen_loc": test_unseen}
    savemat(top / "att_splits.mat", {key: np.array([value], np.uint16).T for key, value in lists.items()})
    return top


def add_cub(root, folders, per_class=4):
    """CUB's images, and images.txt, which is sorted by class. -> its folder"""
    top = Path(root) / "CUB_200_2011"
    files = [f"{folder}/{i}.jpg" for folder in folders for i in range(per_class)]
    add_images(top / "images", files)
    (top / "images.txt").write_text("\n".join(f"{i + 1} {file}" for i, file in enumerate(files)))
    return top


def add_awa2(root, files):
    """AWA2's images, and res101.mat, whose image_files are the order that the splits count. -> the splits' folder"""
    add_images(Path(root) / "Animals_with_Attributes2" / "JPEGImages", files)
    top = Path(root) / "xlsa17" / "data" / "AWA2"
    top.mkdir(parents=True, exist_ok=True)
    cells = np.empty((len(files), 1), dtype=object)
    cells[:, 0] = [f"/BS/far/away//JPEGImages/{file}" for file in files]
    savemat(top / "res101.mat", {"image_files": cells, "features": np.zeros((8, len(files)))})
    return top


def add_flo(root, trnid, valid, tstid):
    """setid.mat, the order of images that FLO's splits count, beside Oxford Flowers' own files."""
    lists = {"trnid": [trnid], "valid": [valid], "tstid": [tstid]}
    savemat(Path(root) / "oxford_flowers" / "setid.mat", lists)


def add_coop_split(root, folder, images, file, split):
    """A split_zhou_*.json in CoOp's form, {"train": [[path, label, name], ...], ...}, and the images below `images`."""
    top = Path(root) / folder
    add_images(top / images, [item[0] for part in split.values() for item in part])
    (top / file).write_text(json.dumps(split))
    return top
