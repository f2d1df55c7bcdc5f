"""Each reader on a miniature tree in its true layout, without a split file: the split it makes, and its names."""

from collections import Counter

import numpy as np
import pytest
from helpers.trees import add_aircraft, add_flowers, add_pets
from scipy.io import savemat

from datasets.core.splits import read_split


def counts(data):
    return len(data.train_x), len(data.val), len(data.test)


# {reader: (folder of the class folders, theirs, class names in the order of their labels; None: CoOp's list)}
LAND = "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
FOLDERS = {
    "Caltech101": (
        "caltech-101/101_ObjectCategories",
        ["Faces", "Faces_easy", "BACKGROUND_Google", "Motorbikes", "ant"],
        ["face", "motorbike", "ant"],
    ),
    "DescribableTextures": ("dtd/images", ["banded", "polka-dotted"], ["banded", "polka-dotted"]),
    "EuroSAT": ("eurosat/2750", LAND.split(), None),
    "Food101": ("food-101/images", None, None),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_class_folders(load, tmp_path, images, shared_names, name):
    """The split is kept, and the same whatever the run's seed."""
    top, folders, names = FOLDERS[name]
    names = names or shared_names(name.lower())
    for folder in folders or names:
        images(tmp_path / top / folder, [f"{folder}_{i:04d}.jpg" for i in range(10)])
    (tmp_path / top / (folders or names)[0] / ".directory").touch()  # DTD's archive has such a file
    data = load(name, tmp_path)
    assert data.classnames == names and counts(data) == (5 * len(names), 2 * len(names), 3 * len(names))
    kept = next(tmp_path.glob("*/split_zhou_*.json"))
    assert kept.name == f"split_zhou_{name}.json" and load(name, tmp_path).split_hash == data.split_hash
    kept.unlink()
    assert load(name, tmp_path, 4, seed=3).split_hash == data.split_hash


def test_flowers_from_annotations(load, tmp_path):
    names = {"1": "pink primrose", "3": "canterbury bells", "2": "globe thistle"}
    add_flowers(tmp_path, [3] * 10 + [1] * 10 + [2] * 10, names)
    data = load("OxfordFlowers", tmp_path)
    assert data.classnames == ["pink primrose", "globe thistle", "canterbury bells"] and counts(data) == (15, 6, 9)
    assert {d.label for d in data.train_x if int(d.impath[-9:-4]) <= 10} == {2}
    split = read_split(tmp_path / "oxford_flowers" / "split_zhou_OxfordFlowers.json")
    assert [*dict.fromkeys(item.label for item in split.train)] == [2, 0, 1]  # in the order of the labels file


def test_pets_from_annotations(load, tmp_path):
    breeds = {"Abyssinian": 1, "american_bulldog": 2, "Bengal": 3}
    lines = {
        "trainval.txt": [f"{breed}_{i} {label} 1 1" for breed, label in breeds.items() for i in range(10)],
        "test.txt": [f"{breed}_{i} {label} 1 1" for breed, label in breeds.items() for i in range(10, 15)],
    }
    add_pets(tmp_path, lines)
    data = load("OxfordPets", tmp_path)
    assert data.classnames == ["abyssinian", "american_bulldog", "bengal"]
    assert counts(data) == (24, 6, 15) and Counter(d.label for d in data.val) == {0: 2, 1: 2, 2: 2}
    assert all(int(d.impath.split("_")[-1][:-4]) >= 10 for d in data.test)


def mat_rows(rows, **fields):
    """A MATLAB struct array, as the annotation files hold one."""
    table = np.empty((1, len(rows)), dtype=[(name, object) for name in fields])
    for i, row in enumerate(rows):
        for (name, make), value in zip(fields.items(), row, strict=True):
            table[0, i][name] = make(value)
    return table


def test_cars_from_annotations(load, tmp_path, images):
    top = tmp_path / "stanford_cars"
    (top / "devkit").mkdir(parents=True)
    names = ["Acura RL Sedan 2012", "AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012"]
    train = [(f"{i + 1:05d}.jpg", i % 3 + 1) for i in range(30)]
    test = [(f"{i + 1:05d}.jpg", (i + 1) % 3 + 1) for i in range(9)]
    cell = np.empty((1, 3), dtype=object)
    cell[0, :] = names
    savemat(top / "devkit" / "cars_meta.mat", {"class_names": cell})
    fields = {"class": lambda value: np.uint8(value), "fname": str}
    for path, rows in (("devkit/cars_train_annos.mat", train), ("cars_test_annos_withlabels.mat", test)):
        savemat(top / path, {"annotations": mat_rows([row[::-1] for row in rows], **fields)})
    images(top, [f"cars_train/{file}" for file, _ in train] + [f"cars_test/{file}" for file, _ in test])
    data = load("StanfordCars", tmp_path)
    assert data.classnames == ["2012 Acura RL Sedan", "2000 AM General Hummer SUV", "2012 Ram C/V Cargo Van Minivan"]
    assert counts(data) == (24, 6, 9) and data.image_dir == str(top)
    assert [d.label for d in data.test[:4]] == [1, 2, 0, 1]
    assert data.test[0].impath == str(top / "cars_test" / "00001.jpg")


def test_aircraft_from_lists(load, tmp_path, shared_names):
    names = shared_names("fgvc_aircraft")
    top = add_aircraft(tmp_path, names)
    data = load("FGVCAircraft", tmp_path)
    assert data.classnames == names and "F/A-18" in names and counts(data) == (100, 100, 100)
    assert data.val[7].impath == str(top / "images" / "0001007.jpg") and data.val[7].classname == names[7]
    assert load("FGVCAircraft", tmp_path, subset="new").classnames == names[50:]
    (top / "variants.txt").write_text("\ufeff# variants\n\n" + "\n".join(names), encoding="utf-8")
    assert load("FGVCAircraft", tmp_path).classnames == names  # read as all lists of names are


def test_sun_from_partitions(load, tmp_path, images, shared_names):
    """The published names with a qualifier come first word last: athletic_field/outdoor."""
    top, names = tmp_path / "sun397", shared_names("sun397")
    top.mkdir()
    folders = []
    for name in names:
        *qualifier, scene = name.split(" ")
        folders.append("/".join(["", scene[0], scene, *qualifier]))
    (top / "ClassName.txt").write_text("\n".join(folders) + "\n")
    for file, size, start in (("Training_01.txt", 5, 0), ("Testing_01.txt", 2, 50)):
        lines = [f"{folder}/sun_{start + i}.jpg" for folder in folders for i in range(size)]
        (top / file).write_text("\n".join(lines) + "\n")
    for folder in folders:
        images(top / "SUN397" / folder[1:], [f"sun_{i}.jpg" for i in (0, 1, 2, 3, 4, 50, 51)])
    data = load("SUN397", tmp_path)
    assert data.classnames == names and counts(data) == (397 * 4, 397, 397 * 2)
    assert "outdoor athletic_field" in names


def test_ucf_from_partitions(load, tmp_path, images, shared_names):
    top, names = tmp_path / "ucf101", shared_names("ucf101")
    (top / "ucfTrainTestlist").mkdir(parents=True)
    actions = [name.replace("_", "") for name in names]
    write = lambda file, lines: (top / "ucfTrainTestlist" / file).write_text("\n".join(lines) + "\n")  # noqa: E731
    write("classInd.txt", [f"{i + 1} {action}" for i, action in enumerate(actions)])
    write("trainlist01.txt", [f"{a}/v_{a}_g0{i}_c01.avi {n + 1}" for n, a in enumerate(actions) for i in range(5)])
    write("testlist01.txt", [f"{a}/v_{a}_g09_c01.avi" for a in actions])
    for name, action in zip(names, actions, strict=True):
        images(top / "UCF-101-midframes" / name, [f"v_{action}_g0{i}_c01.jpg" for i in (0, 1, 2, 3, 4, 9)])
    data = load("UCF101", tmp_path)
    assert data.classnames == names and counts(data) == (404, 101, 101)
    assert data.test[0].impath.endswith("Apply_Eye_Makeup/v_ApplyEyeMakeup_g09_c01.jpg")
