"""docs/contributing.md: its examples run. The files that README and docs name and link to exist."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from helpers.trees import add_images

import trainers
from scripts.lib.lists import runs_of
from scripts.lib.report import paper

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"runs this block -->\n```\w+\n(.*?)```|reads this block -->\n```\w+\n(.*?)```", TEXT, re.S)
READER, TABLE, SWEEP = ("".join(found) for found in BLOCKS)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """The reader of the page, as if its file were in datasets/."""
    monkeypatch.setattr(DATASET_REGISTRY, "_obj_map", dict(DATASET_REGISTRY._obj_map))
    (tmp_path / "birds.py").write_text(READER)
    spec = importlib.util.spec_from_file_location("datasets.birds", tmp_path / "birds.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Birds


def test_the_reader_reads_a_split_file(reader, tmp_path):
    birds = list(enumerate(("crow", "owl")))
    split = {part: [[f"{part}/{name}.png", i, name] for i, name in birds] for part in ("train", "val", "test")}
    add_images(tmp_path / "birds/images", [path for items in split.values() for path, *_ in items])
    (tmp_path / "birds/split_zhou_Birds.json").write_text(json.dumps(split))
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS = "Birds", str(tmp_path), 1
    found = reader(cfg)
    assert found.classnames == ["crow", "owl"] and len(found.train_x) == len(found.test) == 2


def test_the_table_and_the_sweep_are_of_the_form_that_scripts_read(tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "PAPERS", tmp_path)
    (tmp_path / "ship").mkdir()
    (tmp_path / "ship/table1.yaml").write_text(TABLE)
    table = paper.paper_table.__wrapped__(1, "ship")
    (row,) = table["rows"]
    assert row["values"].keys() <= table["columns"].keys() and row["trainer"] == "CoOp"
    runs = runs_of(yaml.load(SWEEP, Loader=yaml.BaseLoader))
    assert len(runs) == 12 and runs[1].options == (("TRAINER.SHIP.N_CTX", "8"),)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_and_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert not [link for link in links if not (page.parent / link).exists()]
    named = re.findall(r"(?:bash|python) ((?:scripts/)?[\w/]+\.(?:sh|py))|(configs/[\w/]+\.yaml)", text)
    if page.name == "contributing.md":
        named += re.findall(r"`((?:trainers|datasets|configs|tests|scripts|docs|\.ci)/[\w/.]+)`", text)
    assert not [name for name in map("".join, named) if not (ROOT / name).exists()]
