import pytest
from dassl.utils import UserError
from helpers.trees import IMAGENET_V2, IMAGENET_VARIANTS, add_imagenet

from datasets.imagenet import CLASSNAMES, read_classnames

WNIDS = ["n01440764", "n01443537", "n01484850", "n01491361"]  # tench, goldfish, great white shark, tiger shark


@pytest.fixture
def imagenet(tmp_path):
    add_imagenet(tmp_path, WNIDS)
    return tmp_path


def test_shipped_names_are_clips(shared, shared_names):
    names = read_classnames(CLASSNAMES)
    assert list(names) == sorted(names) and len(names) == 1000
    assert list(names.values()) == shared_names("imagenet")
    assert names == read_classnames(shared / "imagenet" / "classnames.txt")
    repeated = {name for name in names.values() if list(names.values()).count(name) > 1}
    assert repeated == {"missile", "sunglasses"}


def test_the_validation_images_are_the_test_set_alone(load, imagenet):
    data = load("ImageNet", imagenet)
    assert data.classnames == ["tench", "goldfish", "great white shark", "tiger shark"]
    assert len(data.train_x) == 24 and len(data.test) == 8 and not data.val
    assert {d.impath.split("/")[-3] for d in data.test} == {"val"}
    assert load("ImageNet", imagenet, subset="new").classnames == ["great white shark", "tiger shark"]
    assert not (imagenet / "imagenet" / "split_ImageNet.json").exists()


def test_names_of_the_user_win_and_are_told(load, imagenet, capsys):
    """So is a name that classes share, as ImageNet's two missiles do."""
    names = read_classnames(CLASSNAMES) | {"n01440764": "goldfish"}
    (imagenet / "imagenet" / "classnames.txt").write_text("\n".join(" ".join(row) for row in names.items()))
    assert load("ImageNet", imagenet).classnames[:2] == ["goldfish", "goldfish"]
    said = capsys.readouterr().out
    assert "differ from CLIP's" in said and "1 class names stand for more than one class: goldfish" in said


def test_unsorted_validation_images_and_foreign_folders_are_explained(load, imagenet, images):
    images(imagenet / "imagenet" / "images" / "val" / "cats", ["1.JPEG"])
    with pytest.raises(UserError, match="val should hold class folders such as n01440764, but has cats"):
        load("ImageNet", imagenet)
    (imagenet / "imagenet" / "images" / "val").rename(imagenet / "old")
    images(imagenet / "imagenet" / "images" / "val", ["ILSVRC2012_val_00000001.JPEG"])
    with pytest.raises(UserError, match="must be sorted into class folders"):
        load("ImageNet", imagenet)


@pytest.mark.parametrize("name", IMAGENET_VARIANTS)
def test_variants_hold_test_images_of_some_classes(load, tmp_path, images, name):
    for wnid in (WNIDS[3], WNIDS[1]):
        images(tmp_path / IMAGENET_VARIANTS[name] / wnid, [f"{i}.jpg" for i in range(3)])
    (tmp_path / IMAGENET_VARIANTS[name] / "README.txt").touch()
    data = load(name, tmp_path, 16)
    assert data.classnames == ["goldfish", "tiger shark"] and len(data.test) == 6 and not data.val
    assert data.train_x == data.test  # as in CoOp: a stock DataManager needs a training set
    assert not (tmp_path / IMAGENET_VARIANTS[name]).parent.joinpath("split_fewshot").exists()


def test_v2_folders_are_labels(load, tmp_path, images):
    for label in range(1000):
        folder = tmp_path / IMAGENET_V2 / str(label)
        folder.mkdir(parents=True)
        (folder / "x.jpeg").touch()
    data = load("ImageNetV2", tmp_path)
    assert data.classnames == list(read_classnames(CLASSNAMES).values())
    assert [d.label for d in data.test] == list(range(1000)) and data.test[10].impath.endswith("/10/x.jpeg")
