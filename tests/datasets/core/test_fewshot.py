import random

import pytest
from dassl.data.datasets import DatasetBase, write_fewshot
from dassl.utils import UserError, set_random_seed

from datasets.core import fewshot
from datasets.core.splits import Item, Split


def make_split(sizes=(20, 20, 3)):
    """Classes of these sizes, their images mixed, the first to appear not being class 0."""
    items = [Item(f"{label}/{i}.jpg", label, f"c{label}") for label, size in enumerate(sizes) for i in range(size)]
    random.Random(5).shuffle(items)
    val = [Item(f"{label}/v{i}.jpg", label, f"c{label}") for label in range(len(sizes)) for i in range(6)]
    return Split(items, val, [])


@pytest.mark.parametrize("shots", [1, 4, 16])
@pytest.mark.parametrize("seed", [1, 2])
def test_draw_equals_coops_draw_from_the_seeded_global_generator(shots, seed):
    split = make_split()
    datums = [fewshot.to_datums(part, "") for part in split]
    set_random_seed(seed)
    base = DatasetBase(datums[0])
    train = base.generate_fewshot_dataset(datums[0], num_shots=shots)
    val = base.generate_fewshot_dataset(datums[1], num_shots=min(shots, 4))
    ours = fewshot.draw(split, shots, seed)
    assert [[item.path for item in part] for part in ours] == [[d.impath for d in part] for part in (train, val)]


def write_elsewhere(path, train, val):
    top = "/home/someone/DATA/caltech-101/101_ObjectCategories"
    write_fewshot(path, fewshot.to_datums(train, top), fewshot.to_datums(val, top))


def test_pickle_of_another_machine_is_read_by_the_ends_of_its_paths(tmp_path):
    split = make_split()
    train, val = fewshot.draw(split, 2, 1)
    write_elsewhere(tmp_path / "a.pkl", train, val)
    assert fewshot.read_pickle(tmp_path / "a.pkl", split, 2) == (train, val)


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
