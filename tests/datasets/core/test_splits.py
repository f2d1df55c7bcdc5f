import copy
from collections import Counter

import pytest
from dassl.utils import UserError

from datasets.core.splits import Item, check_split, split_classes, split_hash

GOOD = {
    "train": [["b/1.jpg", 1, "bee"], ["a/1.jpg", 0, "ant"], ["c/1.jpg", 2, "cat"]],
    "val": [["a/2.jpg", 0, "ant"]],
    "test": [["b/3.jpg", 1, "bee"], ["c/3.jpg", 2, "cat"]],
}


def changed(part, index, entry):
    raw = copy.deepcopy(GOOD)
    raw[part][index : index + 1] = [] if entry is None else [entry]
    return raw


@pytest.mark.parametrize(
    "raw, fault",
    [
        ({"train": [], "val": []}, "expected"),
        (changed("test", 1, ["c/3.jpg", "2", "cat"]), r"'2', 'cat'\] is not \[path below the image folder"),
        (changed("train", 0, ["b/1.jpg", -1, "bee"]), "from 0 without a gap"),
        (changed("train", 0, ["b/1.jpg", 1, "  "]), "printable name"),
        (changed("train", 0, ["../b/1.jpg", 1, "bee"]), "below the image folder"),
        (changed("train", 0, ["/etc/passwd", 1, "bee"]), "below the image folder"),
        (changed("test", 0, ["a/1.jpg", 0, "ant"]), "'a/1.jpg' is listed twice"),
        (changed("test", 0, ["b/3.jpg", 1, "wasp"]), "label 1 has two names, 'bee' and 'wasp'"),
        (changed("train", 0, None), "1 classes have no training image, first 'bee'"),
    ],
)
def test_faulty_split_is_refused_with_the_reason(raw, fault):
    with pytest.raises(UserError, match=fault):
        check_split(raw, "here")


def test_hash_depends_on_order_labels_and_parts_alone():
    split = check_split(GOOD, "here")
    assert split_hash(split) == split_hash(check_split(copy.deepcopy(GOOD), "elsewhere"))
    others = [
        split._replace(train=split.train[::-1]),
        split._replace(val=[], test=split.test + split.val),
        split._replace(val=[split.val[0]._replace(classname="Ant")]),
    ]
    assert len({split_hash(s) for s in [split, *others]}) == 4
    assert len(split_hash(split)) == 12 and int(split_hash(split), 16) >= 0


def test_split_classes_is_50_20_30_per_class_and_repeats():
    items = [Item(f"{name}/{i}", label, name) for label, name in enumerate("xy") for i in range(40)]
    split = split_classes(items)
    for part, size in zip(split, (20, 8, 12), strict=True):
        assert Counter(item.label for item in part) == {0: size, 1: size}
    assert sorted(split.items()) == sorted(items)
    assert split == split_classes(items)
    few = {2: (1, 0, 1), 3: (2, 0, 1), 4: (2, 1, 1), 5: (2, 1, 2), 7: (4, 1, 2)}  # keep a training and a test image
    assert {n: tuple(map(len, split_classes(items[:n]))) for n in few} == few
    with pytest.raises(UserError, match="'x' has only 1 image; a split needs 2 of each class"):
        split_classes(items[:1])


def test_with_a_published_test_set_val_takes_a_fifth_of_each_class():
    items = [Item(f"{name}/{i}", label, name) for label, name in enumerate("xy") for i in range(10 * (label + 1))]
    test = [Item("x/100", 0, "x")]
    split = split_classes(items, test)
    assert Counter(i.label for i in split.val) == {0: 2, 1: 4} and sorted(split.train + split.val) == sorted(items)
    assert split.test == test
