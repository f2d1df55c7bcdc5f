"""What a folder of images may look like. The trees are of public data sets and of public bug reports."""

import pytest

from trainers.core.files import UserError
from trainers.core.folders import image_suffixes, list_images, read_layout


@pytest.fixture
def tree(tmp_path):
    """tree("cat/1.jpg", ...) -> the folder that holds these (empty) files."""

    def make(*paths):
        for path in paths:
            file = tmp_path / "mine" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return str(tmp_path / "mine")

    return make


def both(*folders):
    """An image of two classes in each of the folders."""
    return [f"{folder}/{name}/1.jpg".lstrip("/") for folder in folders for name in ("cat", "dog")]


@pytest.mark.parametrize(
    "train, val, test",
    [
        ("train", "valid", "test"),
        ("Train", "", "Test"),
        ("training", "validation", "testing"),
        ("TRAINING_SET", "dev_set", "eval"),
        ("seg_train/seg_train", "", "seg_test/seg_test"),  # Intel's natural scenes, on Kaggle
        ("train/images", "val2017", "test images"),
        ("mydata-1/01_train", "mydata-1/02-val", "mydata-1/03.test"),
    ],
)
def test_splits_in_any_usual_spelling(tree, train, val, test):
    parts = read_layout(tree(*both(train, test), *(both(val) if val else ())))
    expected = {"train": train, "val": val, "test": test}
    assert parts == {p: {n: f"{f}/{n}" for n in ("cat", "dog")} for p, f in expected.items() if f}


@pytest.mark.parametrize("wrapper", ["", "mydata/", "a/b/", "train/"])
def test_a_wrapper_is_entered_and_what_is_no_class_is_left_out_and_named(tree, wrapper, capsys):
    odd = ["__MACOSX/cat/._1.jpg", ".git/x.jpg", "@eaDir/x.jpg", "$RECYCLE.BIN/x.jpg", ".ipynb_checkpoints/x.jpg"]
    top = tree(*both(wrapper.rstrip("/")), *odd, "sample.png", "lost+found/x.jpg")
    parts = read_layout(top)
    assert parts == {"": {"cat": f"{wrapper}cat", "dog": f"{wrapper}dog"}}
    said = capsys.readouterr().out
    assert "no classes: $RECYCLE.BIN, .git, .ipynb_checkpoints, @eaDir, __MACOSX, ..." in said
    assert "1 images that lie beside the class folders" in said
    assert not wrapper or f"{wrapper.rstrip('/')}/ is the only folder there" in said


@pytest.mark.parametrize(
    "paths, fault",
    [
        (["cat/1.jpg"], "there is only cat; expected a folder of images per class"),
        (["1.jpg"], "no folder per class"),
        (["train/1.jpg", "test/1.jpg"], "not clear whether test, train are classes"),
        ([*both(""), "test/1.jpg"], "not clear whether cat, dog, test are classes"),  # fastai #1552
        ([*both("train", "test", "extra")], "not clear whether extra, test, train"),
        (both("val", "test"), "not clear"),
        (both("train", "val", "validation", "test"), "not clear"),
        (
            [*both("train"), "test/cat/1.jpg", "test/cow/1.jpg"],
            r"test/cow is no class of the training images \(cat, do",
        ),
        ([*both("train"), "test/cat/1.jpg"], "there is only test/cat"),
        (both("fold1", "fold2"), r"fold1, fold2 hold no images, but folders of the same names \(cat, dog"),
        (["bottle/train/1.png", "bottle/test/2.png", "cable/train/3.png"], "folders of the same names"),  # MVTec AD
        (["sea_horse/1.jpg", "Sea horse/1.jpg"], "'sea_horse' repeats 'Sea horse'"),
        (["cafe\u0301/1.jpg", "caf\u00e9/1.jpg", "tea/1.jpg"], "two folders mean the same class"),  # macOS, and not
    ],
)
def test_what_is_not_clear_is_refused_with_what_was_found(tree, paths, fault):
    with pytest.raises(UserError, match=fault):
        read_layout(tree(*paths))


def test_a_class_has_the_training_folders_name_in_every_part(tree, capsys):
    parts = read_layout(
        tree("train/Sea horse/1.jpg", "train/a/1.jpg", "test/sea_horse/2.jpg", "test/A/2.jpg", "x/y.txt")
    )
    assert parts["test"] == {"a": "test/A", "Sea horse": "test/sea_horse"}
    assert "no image is in them: x" in capsys.readouterr().out


def test_what_pillow_opens_is_listed_and_what_it_does_not_is_counted(tree):
    good = ["1.jfif", "2.JPE", "3.avif", "4.tga", "5.mpo", "Bild\u202f6.png", "line\nbreak.jpg", "🦊.webp"]
    system = ["Thumbs.db", "._1.jpg", ".DS_Store", "@eaDir/1.jpg/thumb.jpg", "desktop.ini"]
    others: list[str] = []
    assert list_images(tree(*good, "more/7.qoi", *system, "8.heic", "9", "10.h5", "11.mpeg"), others) == [
        *sorted(good),
        "more/7.qoi",
    ]
    assert sorted(others) == ["10.h5", "11.mpeg", "8.heic", "9"]
    assert {".jpg", ".jpeg", ".tif", ".gif"} <= {*image_suffixes()}
