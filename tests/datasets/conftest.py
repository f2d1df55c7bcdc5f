"""Miniature data sets in their true layouts, and the config that reads them."""

import json
from pathlib import Path

import pytest
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from helpers.trees import add_coop_split, add_images
from yacs.config import CfgNode

import datasets  # noqa: F401  (registers the readers)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def shared():
    """The folder of real data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the real data of ../shared/data, which is not here")
    return SHARED


@pytest.fixture
def make_cfg(tmp_path_factory):
    """make_cfg(name, root, shots, ...) -> the config a train script would pass to the reader."""

    features = tmp_path_factory.mktemp("features")

    def make(name, root="", shots=-1, seed=1, subset="all", bank="", split="", task="fewshot"):
        cfg = get_cfg_default()
        cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = name, str(root), shots, seed
        cfg.DATASET.SUBSAMPLE_CLASSES = subset
        cfg.FEATURES, cfg.DATASET.SPLIT, cfg.TASK = CfgNode({"BANK": str(bank), "DIR": str(features)}), split, task
        return cfg

    return make


@pytest.fixture
def load(make_cfg):
    """load(name, root, shots, ...) -> the reader's data set."""
    return lambda name, *args, **kwargs: DATASET_REGISTRY.get(name)(make_cfg(name, *args, **kwargs))


@pytest.fixture
def images():
    return add_images


@pytest.fixture
def caltech(tmp_path):
    """Root of a Caltech101 of four classes ('ant' has two training images only), whose split file is not sorted."""
    folders = {"Faces": "face", "ant": "ant", "bass": "bass", "crab": "crab"}
    split = {"train": [], "val": [], "test": []}
    for label, (folder, name) in enumerate(folders.items()):
        sizes = {"train": 2 if folder == "ant" else 20, "val": 6, "test": 3}
        numbers = iter(range(40, 0, -1))
        for part, size in sizes.items():
            split[part] += [[f"{folder}/image_{next(numbers):04d}.jpg", label, name] for _ in range(size)]
    root = tmp_path / "DATA"
    add_coop_split(root, "caltech-101", "101_ObjectCategories", "split_zhou_Caltech101.json", split)
    return root


@pytest.fixture
def shared_names(shared):
    """shared_names(config name) -> class names in CoOp's label order."""
    return lambda config: json.loads((shared / "classnames" / f"classnames_{config}.json").read_text())
