import json
import shutil
from collections import Counter

import pytest
from dassl.utils import UserError


@pytest.fixture
def flat(tmp_path, images):
    for name in ("red fox", "arctic_fox", "train"):  # a class may be called train
        images(tmp_path / name, [f"{i}.JPG" for i in range(8)] + ["more/9.png", "more/10.webp"])
        (tmp_path / name / "notes.txt").touch()
    return tmp_path


def test_class_folders_are_split_once_and_the_split_is_kept(load, flat):
    data = load("ImageFolder", flat)
    assert data.classnames == ["arctic_fox", "red fox", "train"]
    assert Counter(d.label for d in data.train_x) == {0: 5, 1: 5, 2: 5}
    assert (len(data.val), len(data.test)) == (6, 9)
    assert sum(d.impath.endswith((".png", ".webp")) for d in data.train_x + data.val + data.test) == 6
    kept = json.loads((flat / "split_ImageFolder.json").read_text())
    assert [len(kept[part]) for part in ("train", "val", "test")] == [15, 6, 9]
    again = load("ImageFolder", flat, 2)
    assert again.split_hash == data.split_hash and len(again.train_x) == 6
    assert (flat / "split_fewshot" / "shot_2-seed_1.pkl").is_file()  # and split_fewshot/ is no class
    assert [vars(d) for d in load("ImageFolder", flat, 2).train_x] == [vars(d) for d in again.train_x]


def test_classes_added_after_the_split_are_told(load, flat, images, capsys):
    load("ImageFolder", flat)
    images(flat / "zebra", [f"{i}.jpg" for i in range(4)])
    assert load("ImageFolder", flat).classnames == ["arctic_fox", "red fox", "train"]
    assert "older than 1 class folders, which stay unused: zebra" in capsys.readouterr().out


def test_read_only_folder_is_told_and_gives_the_same_split_again(load, flat, capsys):
    flat.chmod(0o555)
    try:
        first, second = load("ImageFolder", flat), load("ImageFolder", flat)
        assert first.split_hash == second.split_hash
        assert "split could not be kept" in capsys.readouterr().out and not (flat / "split_ImageFolder.json").exists()
    finally:
        flat.chmod(0o755)


def test_parts_in_sub_folders(load, tmp_path, images):
    for part, size in (("train", 5), ("val", 2), ("test", 3)):
        for name in ("a", "b"):
            images(tmp_path / part / name, [f"{i}.jpg" for i in range(size)])
    data = load("ImageFolder", tmp_path, subset="new")
    shutil.rmtree(tmp_path / "val")  # it may be missing
    assert not load("ImageFolder", tmp_path).val
    assert data.classnames == ["b"] and (len(data.train_x), len(data.val), len(data.test)) == (5, 2, 3)
    assert not (tmp_path / "split_ImageFolder.json").exists()


@pytest.mark.parametrize(
    "names, fault",
    [
        (["train/a/1.jpg", "test/b/1.jpg"], "class 'b' is in test/ but not in train/"),
        (["train/a/1.jpg", "val/a/1.jpg"], "expected train/ and test/"),
        (["a/1.jpg", "a/2.jpg", "b/notes.txt"], "b holds no images"),
        (["a/1.jpg", "a/2.jpg", "b/1.jpg"], "'b' has only 1 image"),
        (["1.jpg"], "has no sub-folders"),
        (["a\nb/1.jpg", "a\nb/2.jpg"], "unprintable"),
    ],
)
def test_folders_that_cannot_be_used(load, tmp_path, images, names, fault):
    images(tmp_path, [name for name in names if name.endswith("jpg")])
    for name in names:
        if name.endswith("txt"):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).touch()
    with pytest.raises(UserError, match=fault):
        load("ImageFolder", tmp_path)
    with pytest.raises(UserError, match="one sub-folder of images for each class"):
        load("ImageFolder", tmp_path / "nothing")
