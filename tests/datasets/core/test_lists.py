"""The few-shot lists that come with the project: all of them are draws, and they are used."""

import hashlib

import pytest
from dassl.utils import UserError

from datasets.core import fewshot
from datasets.core.splits import read_split, split_hash

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
