"""The Proposed Splits on miniature trees: locs count from 1 in the benchmark's own order of images."""

from pathlib import Path

import pytest
from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError
from helpers.trees import add_awa2, add_cub, add_flo, add_flowers, add_proposed_splits

from datasets.core.splits import class_names


@pytest.fixture
def cub(tmp_path):
    """Four birds of four images; 001 and 003 are unseen. images.txt is sorted by class."""
    folders = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross", "004.Groove_billed_Ani"]
    add_cub(tmp_path, folders)
    add_proposed_splits(tmp_path, "CUB", [6, 5, 13, 14, 15], [7, 8, 16], [1, 2, 3, 4, 9, 10, 11, 12])
    return tmp_path


def test_cub_labels_run_over_seen_then_unseen_classes(load, cub):
    data = load("CUB", cub)
    assert data.seen_classnames == ["Laysan Albatross", "Groove billed Ani"]
    assert data.unseen_classnames == ["Black footed Albatross", "Sooty Albatross"]
    assert data.classnames == data.all_classnames == data.seen_classnames + data.unseen_classnames
    assert data.num_classes == 4 and data.lab2cname[2] == "Black footed Albatross"
    names = [(Path(d.impath).parent.name[:3] + "/" + Path(d.impath).stem, d.label) for d in data.train_x]
    assert names == [("002/1", 0), ("002/0", 0), ("004/0", 1), ("004/1", 1), ("004/2", 1)]
    assert [d.label for d in data.test_seen] == [0, 0, 1] and [d.label for d in data.test_unseen] == [2] * 4 + [3] * 4
    assert data.test == data.test_seen + data.test_unseen and not data.val
    few = load("CUB", cub, 2)
    assert [d.label for d in few.train_x] == [0, 0, 1, 1] and few.num_classes == 4 and len(few.test) == 11
    with pytest.raises(UserError, match="seen and unseen classes"):
        load("CUB", cub, subset="new")


def test_lists_of_another_image_order_are_refused(load, cub):
    add_proposed_splits(cub, "CUB", [5, 6, 13, 9], [7, 8, 16], [1, 2, 3, 4, 10, 11, 12])
    with pytest.raises(UserError, match="another order"):
        load("CUB", cub)


def test_awa2_follows_the_order_of_res101(load, tmp_path):
    files = ["grizzly+bear/b_1.jpg", "antelope/a_2.jpg", "antelope/a_1.jpg", "bat/c_1.jpg"]
    add_awa2(tmp_path, files)
    add_proposed_splits(tmp_path, "AWA2", [1, 3], [2], [4])
    data = load("AWA2", tmp_path)
    assert data.classnames == ["antelope", "grizzly bear", "bat"]
    assert [d.label for d in data.train_x] == [1, 0] and data.train_x[1].impath.endswith("antelope/a_1.jpg")


def test_flo_follows_the_published_lists(load, tmp_path):
    add_flowers(tmp_path, [1, 2, 1, 3, 2, 2], {"1": "rose", "2": "lily", "3": "iris"})
    add_flo(tmp_path, [5, 6], [2], [4, 1, 3])
    add_proposed_splits(tmp_path, "FLO", [1, 3, 4], [2], [5, 6])  # images 5, 2, 4 | 6 | 1, 3
    data = load("FLO", tmp_path)
    assert data.seen_classnames == ["lily", "iris"] and data.unseen_classnames == ["rose"]
    assert [Path(d.impath).stem[-1] for d in data.train_x + data.test] == [*"524613"]
    assert [d.label for d in data.train_x + data.test] == [0, 0, 1, 0, 2, 2]


def test_real_flo_splits(shared):
    """5631 / 1403 / 1155 images of 82 seen and 20 unseen classes (only some of the images are there)."""
    reader = DATASET_REGISTRY.get("FLO").__new__(DATASET_REGISTRY.get("FLO"))
    reader.locate(str(shared))
    split = reader.make_split()
    seen = {item.label for item in split.train}
    unseen = {item.label for item in split.test} - seen
    assert (len(split.train), len(split.test)) == (5631, 1403 + 1155)
    assert sum(item.label in seen for item in split.test) == 1403
    assert seen == set(range(82)) and unseen == set(range(82, 102)) and len(set(class_names(split))) == 102
    derived = [line.split() for line in (shared / "xlsa17/data/FLO/image_order_DERIVED.txt").read_text().splitlines()]
    assert reader.image_order() == [(file, int(label)) for _, file, label in derived]
