"""A folder of one's own: its split, the list of it, and what a run says about both."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from dassl.utils import UserError


@pytest.fixture
def flat(tmp_path, images):
    top = tmp_path / "mine"
    for name in ("red fox", "arctic_fox", "train"):  # a class may be called train
        images(top / name, [f"{i}.JPG" for i in range(8)] + ["more/9.png", "more/10.webp"])
        (top / name / "notes.txt").touch()
    return top


def files(folder):
    return sorted(str(path) for path in Path(folder).rglob("*"))


def test_class_folders_are_split_once_and_nothing_is_written_into_them(load, flat, make_cfg, capsys):
    before, data = files(flat), load("ImageFolder", flat)
    assert data.classnames == ["arctic_fox", "red fox", "train"]
    assert Counter(d.label for d in data.train_x) == {0: 5, 1: 5, 2: 5}
    assert (len(data.val), len(data.test)) == (6, 9)
    assert sum(d.impath.endswith((".png", ".webp")) for d in data.train_x + data.val + data.test) == 6
    (path,) = Path(make_cfg("ImageFolder").FEATURES.DIR).glob("splits/*")
    assert [len(part) for part in json.loads(path.read_text()).values()] == [15, 6, 9]
    said = capsys.readouterr().out
    assert "30 images of 3 classes: 15 to train on, 6 to validate, 9 to test (50/20/30 of each class" in said
    assert "3 files that Pillow does not read are left out: " in said
    again = load("ImageFolder", flat, 2)
    assert again.split_hash == data.split_hash and len(again.train_x) == 6
    assert [vars(d) for d in load("ImageFolder", flat, 2).train_x] == [vars(d) for d in again.train_x]
    assert files(flat) == before


def test_a_folder_that_changed_is_refused_until_the_user_does_what_the_message_says(load, flat):
    load("ImageFolder", flat)
    (flat / "train/2.JPG").rename(flat / "red fox/22.JPG")
    with pytest.raises(UserError, match=r"1 gone and 1 new \(red fox/22.JPG, train/2.JPG\)") as error:
        load("ImageFolder", flat)
    _, command = str(error.value).split("rm ")
    Path(command.strip("'")).unlink()
    load("ImageFolder", flat)


def test_parts_in_sub_folders(load, tmp_path, images):
    for part, size in (("Training", 5), ("valid", 2), ("Test", 3)):
        for name in ("a", "b"):
            images(tmp_path / part / name, [f"{i}.jpg" for i in range(size)])
    data = load("ImageFolder", tmp_path, subset="new")
    assert data.classnames == ["b"] and (len(data.train_x), len(data.val), len(data.test)) == (5, 2, 3)
    shutil.rmtree(tmp_path / "valid")  # it may be missing
    before = files(tmp_path)
    assert not load("ImageFolder", tmp_path, 2).val and files(tmp_path) == before
    shutil.rmtree(tmp_path / "Test")
    images(tmp_path / "val", ["a/1.jpg", "b/1.jpg"])
    with pytest.raises(UserError, match="has train, val and no test/.*TASK fewshot DATASET.SPLIT none"):
        load("ImageFolder", tmp_path)
    assert (len((data := load("ImageFolder", tmp_path, split="none")).train_x), len(data.val)) == (10, 2)


def test_split_none_trains_on_all_that_the_shots_allow(load, flat, images, capsys):
    assert len(load("ImageFolder", flat, 8).train_x) == 15
    data = load("ImageFolder", flat, 8, split="none")
    assert (len(data.train_x), len(data.test), len(data.unused_train)) == (24, 0, 6) and "SPLIT none" in data.no_test
    assert "30 to train on, 0 to validate, 0 to test" in capsys.readouterr().out
    for wrong in ({"split": "none", "task": "base2new"}, {"split": "half"}):
        with pytest.raises(UserError, match="it is none, with TASK fewshot"):
            load("ImageFolder", flat, 8, **wrong)
    for part in ("train", "test"):
        images(flat / "more" / part, ["a/1.jpg", "b/2.jpg"])
    with pytest.raises(UserError, match="has test images: leave DATASET.SPLIT none out"):
        load("ImageFolder", flat / "more", split="none")


def test_test_images_that_were_trained_on_are_found_by_content(load, tmp_path, images, capsys):
    images(tmp_path, [f"{part}/{name}/{part}_{name}.jpg" for part in ("train", "test") for name in "ab"])
    assert load("ImageFolder", tmp_path).test_images_trained_on == 0
    assert "WARNING" not in capsys.readouterr().out
    for copy in ("a/holiday", "b/other class"):
        shutil.copy(tmp_path / "train/a/train_a.jpg", tmp_path / f"test/{copy}.jpeg")
    assert load("ImageFolder", tmp_path).test_images_trained_on == 2
    assert "WARNING: 2 test images are training images" in capsys.readouterr().out


def test_a_file_may_have_any_name_and_a_suffix_that_pillow_reads(load, tmp_path, images):
    odd = ["Bildschirmfoto 10.30\u202fPM.png", "line\nbreak.jpg", "🦊.webp", "{a,b}.gif", os.fsdecode(b"latin\xe4.jpg")]
    for name in ("ant", "bee"):
        images(tmp_path / name, ["1.png", "2.jpg", *odd[:2], "3.jpg"])
        os.rename(tmp_path / name / "3.jpg", tmp_path / name / odd[4])
        os.rename(tmp_path / name / "2.jpg", tmp_path / name / "2.jfif")
    data = load("ImageFolder", tmp_path, 2)
    assert load("ImageFolder", tmp_path, 2).split_hash == data.split_hash  # as the list says
    assert len(load("ImageFolder", tmp_path, split="none").train_x) == 10
    (tmp_path / "ant" / "1.png").rename(tmp_path / "ant" / "a\\b.png")
    with pytest.raises(UserError, match="without a backslash"):
        load("ImageFolder", tmp_path, split="none")


def test_folders_that_cannot_be_used(load, tmp_path, images):
    images(tmp_path, ["a/1.jpg", "a/2.jpg"])
    (tmp_path / "b").mkdir()
    (tmp_path / "b/notes.txt").touch()
    with pytest.raises(UserError, match="b holds no images"):
        load("ImageFolder", tmp_path)
    images(tmp_path, ["b/1.jpg"])
    with pytest.raises(UserError, match="'b' has only 1 image"):
        load("ImageFolder", tmp_path)
    images(tmp_path, ["b/2.jpg", "b\nc/1.jpg", "b\nc/2.jpg"])
    with pytest.raises(UserError, match="printable name"):
        load("ImageFolder", tmp_path)
    with pytest.raises(UserError, match="one sub-folder of images for each class"):
        load("ImageFolder", tmp_path / "nothing")
