import json

import pytest
from dassl.utils import UserError

from datasets import fewshot_lists, sampling
from datasets.splits import check_split, read_split, split_hash

READERS = ["Caltech101", "DescribableTextures", "EuroSAT", "OxfordFlowers", "OxfordPets", "StanfordCars", "UCF101"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(fewshot_lists, "FOLDER", str(tmp_path / "fewshot"))
    return tmp_path / "fewshot"


@pytest.mark.parametrize(
    "paths, line",
    [
        (["a/1.jpg"], "a/1.jpg"),
        (["a/x1.jpg", "a/x22.jpg"], "a/x{1,22}.jpg"),
        (["a/x1.jpg", "a/x11.jpg"], "a/x1{,1}.jpg"),
        (["a/11.jpg", "a/1.jpg"], "a/1{1,}.jpg"),
        (["a.jpg", "b.bmp"], "{a.jpg,b.bmp}"),
    ],
)
def test_lines_are_compact_and_expand_again(paths, line):
    assert fewshot_lists.compact(paths) == line and fewshot_lists.expand(line) == paths


@pytest.mark.parametrize("path", ["a/{1}.jpg", "a,b.jpg", "[a].jpg", "#a.jpg"])
def test_paths_that_would_not_expand_are_refused(path):
    with pytest.raises(UserError, match="cannot be listed"):
        fewshot_lists.compact([path])


@pytest.mark.parametrize("name", READERS)
def test_lists_equal_sampling(shared, name):
    """Every shipped list, in its order, is the draw for its seed."""
    split = read_split(shared / "splits_zhou" / f"split_zhou_{name}.json")
    for seed in fewshot_lists.SEEDS:
        for shots in fewshot_lists.SHOTS:
            path = fewshot_lists.find(name, split_hash(split), seed, shots)
            assert path, "no list for the full split"
            assert fewshot_lists.read(path, split, shots) == list(sampling.draw(split, shots, seed))


def test_lists_are_small_and_named_by_reader_hash_and_seed():
    import os

    names = sorted(os.listdir(fewshot_lists.FOLDER))
    assert len(names) == 7 * 3 and {name.split("-")[0] for name in names} == set(READERS)
    assert sum(os.path.getsize(os.path.join(fewshot_lists.FOLDER, name)) for name in names) < 1_000_000


@pytest.mark.parametrize(
    "reader, shots, seed, train, val",
    [
        (
            "EuroSAT",
            2,
            1,
            [
                275,
                1165,
                1629,
                2022,
                3241,
                4014,
                5420,
                5467,
                6527,
                6179,
                7096,
                7499,
                8058,
                8798,
                10136,
                10494,
                10754,
                11662,
                12545,
                13477,
            ],
            [
                234,
                104,
                925,
                631,
                1222,
                1226,
                2132,
                2077,
                2304,
                2780,
                2995,
                3151,
                3310,
                3696,
                4132,
                3729,
                4570,
                4413,
                5248,
                5307,
            ],
        ),
        (
            "OxfordPets",
            1,
            3,
            [
                30,
                155,
                229,
                256,
                367,
                477,
                540,
                634,
                645,
                794,
                798,
                937,
                984,
                1098,
                1137,
                1212,
                1328,
                1417,
                1498,
                1568,
                1638,
                1687,
                1777,
                1844,
                1971,
                2034,
                2066,
                2153,
                2245,
                2380,
                2390,
                2503,
                2548,
                2658,
                2764,
                2860,
                2913,
            ],
            [
                13,
                32,
                58,
                74,
                84,
                111,
                123,
                141,
                163,
                194,
                205,
                227,
                251,
                266,
                290,
                313,
                329,
                355,
                368,
                394,
                415,
                430,
                455,
                463,
                486,
                496,
                524,
                555,
                561,
                586,
                613,
                634,
                654,
                659,
                682,
                714,
                724,
            ],
        ),
    ],
)
def test_draws_equal_published_ones(shared, reader, shots, seed, train, val):
    """Places in the split's lists as linzhiqiu/cross_modal_adaptation (CVPR 2023) published them for CoOp's protocol:
    indices/*/shot_*-seed_*.json.
    """
    split = read_split(shared / "splits_zhou" / f"split_zhou_{reader}.json")
    drawn = sampling.draw(split, shots, seed)
    assert [split.train.index(item) for item in drawn[0]] == train
    assert [split.val.index(item) for item in drawn[1]] == val


@pytest.fixture
def listed(caltech, folder):
    """A list of the miniature Caltech101 that differs from the draw in one image, to see whether it is used."""
    split = read_split(caltech / "caltech-101" / "split_zhou_Caltech101.json")
    path = fewshot_lists.list_path("Caltech101", split_hash(split), 1)
    fewshot_lists.write(split, path, 1, "Caltech101")
    chosen = fewshot_lists.read(path, split, 4)[0]
    other = next(item for item in split.train if item.label == 3 and item not in chosen)
    drawn = [item.path for item in chosen if item.label == 3]
    with open(path) as file:
        text = file.read()
    line = fewshot_lists.compact(drawn)
    assert text.count(line) == 1
    with open(path, "w") as file:
        file.write(text.replace(line, fewshot_lists.compact([other.path, *drawn[1:]])))
    return other


def test_reader_prefers_pickle_then_list_then_draw(load, caltech, listed):
    first = load("Caltech101", caltech, 4)
    assert first.fewshot_source.startswith("Caltech101-") and first.fewshot_source.endswith("-seed1.txt")
    assert any(d.impath.endswith(listed.path) for d in first.train_x)
    # the selection was kept
    assert load("Caltech101", caltech, 4).fewshot_source.endswith("split_fewshot/shot_4-seed_1.pkl")
    assert load("Caltech101", caltech, 4, seed=2).fewshot_source == "sampled"
    assert load("Caltech101", caltech, 3).fewshot_source == "sampled"


def test_list_of_another_split_is_not_used(load, caltech, listed):
    path = caltech / "caltech-101" / "split_zhou_Caltech101.json"
    raw = json.loads(path.read_text())
    raw["test"].reverse()
    path.write_text(json.dumps(raw))
    assert load("Caltech101", caltech, 4).fewshot_source == "sampled"


@pytest.mark.parametrize(
    "change, fault",
    [
        (lambda text: text.replace("Faces", "Fazes"), "not in the split"),
        (lambda text: text.replace("[4 train]", "[5 train]"), r"no section \[4 train\]"),
        (lambda text: "Faces/image_0040.jpg\n" + text, "before any section"),
        (lambda text: text.replace("{", ""), "not in the split"),
    ],
)
def test_damaged_list_is_an_error(caltech, folder, change, fault):
    split = read_split(caltech / "caltech-101" / "split_zhou_Caltech101.json")
    path = fewshot_lists.list_path("Caltech101", split_hash(split), 1)
    fewshot_lists.write(split, path, 1, "Caltech101")
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(change(text))
    with pytest.raises(UserError, match=fault):
        fewshot_lists.read(path, split, 4)


def test_odd_paths_fall_back_to_plain_errors_not_wrong_lists(folder):
    split = check_split({"train": [["a,b.jpg", 0, "x"]], "val": [], "test": []}, "here")
    with pytest.raises(UserError, match="cannot be listed"):
        fewshot_lists.write(split, str(folder / "x.txt"), 1, "X")
    assert not folder.exists() or not list(folder.iterdir())
