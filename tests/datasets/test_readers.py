"""Each reader on a miniature tree in its true layout, without a split file: the split it makes, and its names."""

import json
from collections import Counter

import numpy as np
import pytest
from dassl.utils import UserError
from scipy.io import savemat

from datasets.splits import read_split


def counts(data):
    return len(data.train_x), len(data.val), len(data.test)


def test_caltech101_from_folders(load, tmp_path, images):
    top = tmp_path / "caltech-101" / "101_ObjectCategories"
    for folder in ("Faces", "Faces_easy", "BACKGROUND_Google", "Motorbikes", "ant"):
        images(top / folder, [f"image_{i:04d}.jpg" for i in range(10)])
    data = load("Caltech101", tmp_path)
    assert data.classnames == ["face", "motorbike", "ant"] and counts(data) == (15, 6, 9)
    kept = tmp_path / "caltech-101" / "split_zhou_Caltech101.json"
    first = kept.read_bytes()
    again = load("Caltech101", tmp_path)
    assert kept.read_bytes() == first and [d.impath for d in again.test] == [d.impath for d in data.test]
    kept.unlink()
    assert load("Caltech101", tmp_path, 4, seed=3).split_hash == data.split_hash, "the split depends on the seed of the run"


def test_eurosat_from_folders(load, tmp_path, images, shared_names):
    for folder in ("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop", "Residential",
                   "River", "SeaLake"):
        images(tmp_path / "eurosat" / "2750" / folder, [f"{folder}_{i}.jpg" for i in range(10)])
    data = load("EuroSAT", tmp_path)
    assert data.classnames == shared_names("eurosat") and counts(data) == (50, 20, 30)
    assert data.template == "a centered satellite photo of {}."


def test_dtd_from_folders(load, tmp_path, images):
    for folder in ("banded", "polka-dotted"):
        images(tmp_path / "dtd" / "images" / folder, [f"{folder}_{i:04d}.jpg" for i in range(10)])
    (tmp_path / "dtd" / "images" / "banded" / ".directory").touch()  # the published archive has such a file
    data = load("DescribableTextures", tmp_path)
    assert data.classnames == ["banded", "polka-dotted"] and counts(data) == (10, 4, 6)
    assert data.template == "{} texture."


def make_flowers(tmp_path, images, labels, names):
    top = tmp_path / "oxford_flowers"
    images(top / "jpg", [f"image_{i + 1:05d}.jpg" for i in range(len(labels))])
    savemat(top / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    (top / "cat_to_name.json").write_text(json.dumps(names))
    return top


def test_flowers_from_annotations(load, tmp_path, images):
    make_flowers(tmp_path, images, [3] * 10 + [1] * 10 + [2] * 10, {"1": "pink primrose", "3": "canterbury bells", "2": "globe thistle"})
    data = load("OxfordFlowers", tmp_path)
    assert data.classnames == ["pink primrose", "globe thistle", "canterbury bells"] and counts(data) == (15, 6, 9)
    assert {d.label for d in data.train_x if int(d.impath[-9:-4]) <= 10} == {2}
    split = read_split(tmp_path / "oxford_flowers" / "split_zhou_OxfordFlowers.json")
    assert list(dict.fromkeys(item.label for item in split.train)) == [2, 0, 1], "classes appear in the order of the labels file"
    assert data.template == "a photo of a {}, a type of flower."


def test_flowers_with_annotations_that_do_not_fit(load, tmp_path, images):
    top = make_flowers(tmp_path, images, [1] * 10 + [2] * 10, {"1": "pink primrose"})
    with pytest.raises(UserError, match="imagelabels.mat and .*cat_to_name.json do not belong together"):
        load("OxfordFlowers", tmp_path)
    (top / "imagelabels.mat").write_bytes(b"not a mat file")
    with pytest.raises(UserError, match="cannot read .*imagelabels.mat"):
        load("OxfordFlowers", tmp_path)
    (top / "imagelabels.mat").unlink()
    with pytest.raises(UserError, match="expected .*imagelabels.mat"):
        load("OxfordFlowers", tmp_path)


def make_pets(tmp_path, images, lines):
    top = tmp_path / "oxford_pets"
    (top / "annotations").mkdir(parents=True)
    for name, content in lines.items():
        (top / "annotations" / name).write_text("\n".join(content) + "\n")
        images(top / "images", [line.split()[0] + ".jpg" for line in content])
    return top


def test_pets_from_annotations(load, tmp_path, images):
    breeds = {"Abyssinian": 1, "american_bulldog": 2, "Bengal": 3}
    lines = {
        "trainval.txt": [f"{breed}_{i} {label} 1 1" for breed, label in breeds.items() for i in range(10)],
        "test.txt": [f"{breed}_{i} {label} 1 1" for breed, label in breeds.items() for i in range(10, 15)],
    }
    make_pets(tmp_path, images, lines)
    data = load("OxfordPets", tmp_path)
    assert data.classnames == ["abyssinian", "american_bulldog", "bengal"]
    assert counts(data) == (24, 6, 15) and Counter(d.label for d in data.val) == {0: 2, 1: 2, 2: 2}
    assert all(int(d.impath.split("_")[-1][:-4]) >= 10 for d in data.test)
    assert data.template == "a photo of a {}, a type of pet."


@pytest.mark.parametrize("line", ["Abyssinian_1 1 1", "Abyssinian 1 1 1", "Abyssinian_1 one 1 1"])
def test_pets_with_a_broken_line(load, tmp_path, images, line):
    make_pets(tmp_path, images, {"trainval.txt": [f"Abyssinian_{i} 1 1 1" for i in range(5)] + [line], "test.txt": ["Abyssinian_9 1 1 1"]})
    with pytest.raises(UserError, match="trainval.txt: expected"):
        load("OxfordPets", tmp_path)


def test_images_that_only_the_annotation_knows_are_reported(load, tmp_path, images):
    top = make_pets(tmp_path, images, {"trainval.txt": [f"Abyssinian_{i} 1 1 1" for i in range(5)], "test.txt": ["Abyssinian_9 1 1 1"]})
    (top / "images" / "Abyssinian_9.jpg").unlink()
    with pytest.raises(UserError, match="names 1 images .*Abyssinian_9.jpg"):
        load("OxfordPets", tmp_path)
    assert not (top / "split_zhou_OxfordPets.json").exists()
