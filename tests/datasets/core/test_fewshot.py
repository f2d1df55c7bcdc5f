"""Few-shot selections: our draw is CoOp's, the lists that come with the project are draws, pickles are read."""

import hashlib
import random

import pytest
from dassl.data.datasets import DatasetBase, write_fewshot
from dassl.utils import UserError, set_random_seed

from datasets.core import fewshot
from datasets.core.splits import Item, Split, read_split, split_hash


def make_split(sizes=(20, 20, 3)):
    """Classes of these sizes, their images mixed, the first to appear not being class 0."""
    items = [Item(f"{label}/{i}.jpg", label, f"c{label}") for label, size in enumerate(sizes) for i in range(size)]
    random.Random(5).shuffle(items)
    val = [Item(f"{label}/v{i}.jpg", label, f"c{label}") for label in range(len(sizes)) for i in range(6)]
    return Split(items, val, [])


def test_draw_equals_coops_draw_from_the_seeded_global_generator():
    split, shots = make_split(), 4
    train, val = (fewshot.to_datums(part, "") for part in (split.train, split.val))
    set_random_seed(2)
    drawn = [DatasetBase(train).generate_fewshot_dataset(part, num_shots=shots) for part in (train, val)]
    ours = fewshot.draw(split, shots, 2)
    assert [[item.path for item in part] for part in ours] == [[d.impath for d in part] for part in drawn]


def write_elsewhere(path, train, val):
    top = "/home/someone/DATA/caltech-101/101_ObjectCategories"
    write_fewshot(path, fewshot.to_datums(train, top), fewshot.to_datums(val, top))


@pytest.mark.parametrize(
    "change, shots",
    [
        (lambda train: [train[0]._replace(label=7), *train[1:]], 2),
        (lambda train: [train[0]._replace(classname="other"), *train[1:]], 2),
        (lambda train: [train[0]._replace(path="0/v0.jpg", label=0, classname="c0"), *train[1:]], 2),
        (lambda train: [item for item in train if item.label], 2),
        (lambda train: train, 1),
    ],
    ids=["another label", "another name", "a validation image", "a class without any", "too many images"],
)
def test_a_selection_that_is_not_of_the_split_is_unusable(tmp_path, change, shots):
    split = make_split()
    train, val = fewshot.draw(split, 2, 1)
    write_elsewhere(tmp_path / "a.pkl", train, val)
    assert fewshot.read_pickle(tmp_path / "a.pkl", split, 2) == (train, val)  # by the ends of its paths
    write_elsewhere(tmp_path / "a.pkl", change(train), val)
    with pytest.raises(UserError, match=f"a.pkl: expected 1 to {shots} training images of each class, as the split"):
        fewshot.read_pickle(tmp_path / "a.pkl", split, shots)


def test_reader_ignores_a_foreign_pickle_and_leaves_it_as_it_is(load, caltech, capsys):
    first = load("Caltech101", caltech, 4, seed=2)
    path = caltech / "caltech-101" / "split_fewshot" / "shot_4-seed_2.pkl"
    changed = path.read_bytes().replace(b"image_0040.jpg", b"image_0041.jpg").replace(b"bass", b"carp")
    path.write_bytes(changed)
    again = load("Caltech101", caltech, 4, seed=2)
    assert again.fewshot_source == "sampled" and f"Few-shot file ignored: {path}" in capsys.readouterr().out
    assert [vars(d) for d in again.train_x] == [vars(d) for d in first.train_x]
    assert path.read_bytes() == changed, "the user's file was overwritten"


READERS = ["Caltech101", "DescribableTextures", "EuroSAT", "OxfordFlowers", "OxfordPets", "StanfordCars", "UCF101"]


@pytest.mark.parametrize("name", READERS)
def test_lists_equal_draws(shared, name):
    """Every shipped list, in its order, is the draw for its seed."""
    split = read_split(shared / "splits_zhou" / f"split_zhou_{name}.json")
    for seed in (1, 2, 3):
        for shots in fewshot.LISTED_SHOTS:
            path = fewshot.list_path(name, split_hash(split), seed)
            assert fewshot.read_list(path, split, shots) == fewshot.draw(split, shots, seed)


# Places in the split's lists as linzhiqiu/cross_modal_adaptation (CVPR 2023) published them for CoOp's protocol
# (indices/*/shot_*-seed_*.json): {(reader, shots, seed): (train, val)}.
PUBLISHED = {
    ("EuroSAT", 2, 1): (
        "275 1165 1629 2022 3241 4014 5420 5467 6527 6179 7096 7499 8058 8798 10136 10494 10754 11662 12545 13477",
        "234 104 925 631 1222 1226 2132 2077 2304 2780 2995 3151 3310 3696 4132 3729 4570 4413 5248 5307",
    ),
    ("OxfordPets", 1, 3): (
        (
            "30 155 229 256 367 477 540 634 645 794 798 937 984 1098 1137 1212 1328 1417 1498 1568 1638 1687 1777 "
            "1844 1971 2034 2066 2153 2245 2380 2390 2503 2548 2658 2764 2860 2913"
        ),
        (
            "13 32 58 74 84 111 123 141 163 194 205 227 251 266 290 313 329 355 368 394 415 430 455 463 486 496 524 "
            "555 561 586 613 634 654 659 682 714 724"
        ),
    ),
}


@pytest.mark.parametrize("reader, shots, seed", PUBLISHED)
def test_draws_equal_published_ones(shared, reader, shots, seed):
    split = read_split(shared / "splits_zhou" / f"split_zhou_{reader}.json")
    for part, drawn, published in zip(split, fewshot.draw(split, shots, seed), PUBLISHED[reader, shots, seed]):
        assert [part.index(item) for item in drawn] == [int(place) for place in published.split()]


@pytest.fixture
def listed(caltech, tmp_path, monkeypatch):
    """Path of a list of the miniature Caltech101, of 4 shots and seed 1, that differs from the draw in one image; and
    that image."""
    split = read_split(caltech / "caltech-101" / "split_zhou_Caltech101.json")
    train, val = fewshot.draw(split, 4, 1)
    other = next(item for item in split.train if item.label == train[-1].label and item not in train)
    train[-1] = other
    lines = ["[4 train]", *(item.path for item in train), "[4 val]", *(item.path for item in val)]
    body = "\n".join(lines) + "\n"
    monkeypatch.setattr(fewshot, "LISTS", tmp_path)
    path = fewshot.list_path("Caltech101", split_hash(split), 1)
    path.write_text(f"# {path.name}: by hand: {hashlib.sha256(body.encode()).hexdigest()}\n{body}")
    return path, other


def test_reader_prefers_pickle_then_list_then_draw(load, caltech, listed):
    first = load("Caltech101", caltech, 4)
    assert first.fewshot_source == listed[0].name
    assert any(d.impath.endswith(listed[1].path) for d in first.train_x)
    assert load("Caltech101", caltech, 4).fewshot_source == first.fewshot_source  # also from the file that it kept
    kept = caltech / "caltech-101" / "split_fewshot"
    (kept / "shot_4-seed_2.pkl").write_bytes((kept / "shot_4-seed_1.pkl").read_bytes())
    assert load("Caltech101", caltech, 4, seed=2).fewshot_source == str(kept / "shot_4-seed_2.pkl")
    (kept / "shot_4-seed_2.pkl").unlink()
    assert load("Caltech101", caltech, 4, seed=2).fewshot_source == "sampled"
    assert load("Caltech101", caltech, 3).fewshot_source == "sampled"


def test_a_changed_list_is_refused(load, caltech, listed):
    path, _ = listed
    lines = path.read_text().splitlines(keepends=True)
    of_another_seed = "".join([lines[0].replace("seed1", "seed2"), *lines[1:]])
    for content in ("".join(lines[:-1]), "".join([lines[0], lines[2], lines[1], *lines[3:]]), of_another_seed):
        path.write_text(content)
        with pytest.raises(UserError, match="is damaged: its lines do not match the digest in its first line"):
            load("Caltech101", caltech, 4)
