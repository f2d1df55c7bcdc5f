"""On the real data beside the checkout: counts, names, and base/new halves of CoOp's split files."""

import math

import pytest

from datasets.core.splits import class_names, read_split, subsample

FULL = {
    "Caltech101": ("caltech101", 4128, 1649, 2465),
    "DescribableTextures": ("dtd", 2820, 1128, 1692),
    "EuroSAT": ("eurosat", 13500, 5400, 8100),
    "OxfordFlowers": ("oxford_flowers", 4093, 1633, 2463),
    "OxfordPets": ("oxford_pets", 2944, 736, 3669),
    "StanfordCars": ("stanford_cars", 6509, 1635, 8041),
    "UCF101": ("ucf101", 7639, 1898, 3783),
}


@pytest.fixture
def linked(shared, tmp_path):
    """Root with links to the real images and copies of the split files: the data itself is never written to."""

    def link(folder):
        (tmp_path / folder).mkdir()
        for entry in (shared / folder).iterdir():
            (tmp_path / folder / entry.name).symlink_to(entry)
        return tmp_path

    return link


@pytest.mark.parametrize(
    "name, folder, sizes",
    [
        ("Caltech101", "caltech-101", (4128, 1649, 2465)),
        ("EuroSAT", "eurosat", (2000, 400, 2000)),
        ("OxfordFlowers", "oxford_flowers", (204, 102, 102)),
    ],
)
def test_images_and_splits_load(load, linked, shared_names, name, folder, sizes):
    data = load(name, linked(folder))
    assert (len(data.train_x), len(data.val), len(data.test)) == sizes
    assert data.classnames == shared_names(FULL[name][0])


@pytest.mark.parametrize("name", FULL)
def test_full_splits_are_valid_and_halved_as_in_coop(shared, shared_names, name):
    config, *sizes = FULL[name]
    split = read_split(shared / "splits_zhou" / f"split_zhou_{name}.json")
    names = shared_names(config)
    assert [len(part) for part in split] == sizes and class_names(split) == names
    half = math.ceil(len(names) / 2)
    assert class_names(subsample(split, "base")) == names[:half]
    assert class_names(subsample(split, "new")) == names[half:]
