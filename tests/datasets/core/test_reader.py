import json
import os
import re

import numpy as np
import pytest
from dassl.utils import UserError
from safetensors.numpy import save_file

from datasets.core.splits import read_split, split_hash

NAMES = ["face", "ant", "bass", "crab"]


def files(folder):
    return sorted(os.path.join(top, name) for top, _, names in os.walk(folder) for name in names)


def make_bank(path, **changes):
    header = {"format": "ship-bank-1", "dataset": "Caltech101"} | changes
    save_file({"train.features": np.zeros((1, 4), np.float16)}, path, header)
    return path


def test_all_classes_all_images(load, caltech):
    data = load("Caltech101", caltech)
    assert (len(data.train_x), len(data.val), len(data.test)) == (62, 24, 12)
    assert data.classnames == data.all_classnames == NAMES and data.num_classes == 4
    assert data.lab2cname == dict(enumerate(NAMES))
    assert data.image_dir == str(caltech / "caltech-101" / "101_ObjectCategories")
    assert data.train_x[0].impath == os.path.join(data.image_dir, "Faces/image_0040.jpg")
    assert all(os.path.isfile(item.impath) for item in data.train_x + data.val + data.test)
    assert data.split_hash == split_hash(read_split(caltech / "caltech-101" / "split_zhou_Caltech101.json"))
    assert data.fewshot_source == "all training images"


@pytest.mark.parametrize("subset, names", [("base", NAMES[:2]), ("new", NAMES[2:])])
def test_half_of_the_classes(load, caltech, subset, names):
    whole, half = load("Caltech101", caltech, 4), load("Caltech101", caltech, 4, subset=subset)
    assert half.classnames == names and half.num_classes == 2 and half.all_classnames == NAMES
    assert half.split_hash == whole.split_hash
    for part in ("train_x", "val", "test"):
        expected = [(d.impath, names.index(d.classname)) for d in getattr(whole, part) if d.classname in names]
        assert [(d.impath, d.label) for d in getattr(half, part)] == expected
    with pytest.raises(UserError, match="SUBSAMPLE_CLASSES is 'old'; it must be one of: all, base, new"):
        load("Caltech101", caltech, subset="old")


@pytest.mark.parametrize("subset, shots", [("all", -1), ("base", 4), ("new", 4)])
def test_bank_gives_the_same_items_without_images(load, caltech, tmp_path, subset, shots):
    split = (caltech / "caltech-101" / "split_zhou_Caltech101.json").read_text()
    bank = make_bank(tmp_path / "bank.safetensors", split=split)
    images, before = load("Caltech101", caltech, shots, seed=3, subset=subset), files(caltech)
    items = load("Caltech101", "", shots, seed=3, subset=subset, bank=bank)
    assert files(caltech) == before and items.image_dir == "" and items.split_hash == images.split_hash
    assert items.all_classnames == images.all_classnames and items.lab2cname == images.lab2cname
    for part in ("train_x", "val", "test"):
        expected = [(os.path.relpath(d.impath, images.image_dir), d.label, d.classname) for d in getattr(images, part)]
        assert [(d.impath, d.label, d.classname) for d in getattr(items, part)] == expected


def test_foreign_banks_are_refused(load, tmp_path):
    split = json.dumps({"train": [["a", 0, "x"]], "val": [], "test": [["a", 0, "x"]]})
    for changes, fault in (({"dataset": "EuroSAT"}, "bank of 'EuroSAT'"), ({"split": split}, "listed twice")):
        with pytest.raises(UserError, match=fault):
            load("Caltech101", bank=make_bank(tmp_path / "bank.safetensors", **changes))


def test_missing_data_names_the_path_and_the_command(load, tmp_path):
    with pytest.raises(UserError) as error:
        load("Caltech101", tmp_path)
    assert str(tmp_path / "caltech-101" / "101_ObjectCategories") in str(error.value)
    assert f"python scripts/data.py prepare Caltech101 --root {tmp_path}" in str(error.value)
    with pytest.raises(UserError, match="--root"):
        load("Caltech101", "")


def test_missing_images_are_counted_and_the_first_five_named(load, caltech):
    gone = sorted((caltech / "caltech-101" / "101_ObjectCategories" / "bass").iterdir())[:7]
    for path in gone:
        path.unlink()
    with pytest.raises(UserError) as error:
        load("Caltech101", caltech)
    assert "names 7 images that are not in" in str(error.value)
    assert len(re.findall(r"bass/image_\d+\.jpg", str(error.value))) == 5


@pytest.mark.parametrize("subset, shots", [("all", -1), ("base", 4)])
def test_drawn_and_left_over_images_are_all_training_images_of_the_classes(load, caltech, subset, shots):
    whole, few = load("Caltech101", caltech, subset=subset), load("Caltech101", caltech, shots, subset=subset)
    drawn, left = ({(d.impath, d.label, d.classname) for d in part} for part in (few.train_x, few.unused_train))
    assert not drawn & left and len(left) == len(few.unused_train)
    assert drawn | left == {(d.impath, d.label, d.classname) for d in whole.train_x}
    assert bool(left) == (shots > 0)
