"""docs/your-data.md: its folders are read or refused as it says, its list is read, its commands run."""

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest
from dassl.data.datasets import DATASET_REGISTRY
from helpers.trees import add_images
from PIL import Image

import train
from trainers.core.files import UserError, read_names

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs/your-data.md").read_text(encoding="utf-8")


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.S)


def make(tree, top):
    """The folders of a tree, with images: a line has a folder's name, then its files."""
    folders = []
    for line in tree.splitlines():
        name, files = line.strip().split("/", 1)
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth:] = [name]
        if depth:
            add_images(top, ["/".join([*folders, file]) for file in files.split() if not file.startswith("._")])
    return top / folders[0]


def load(folder, tmp_path):
    args = ["--root", str(folder), "--trainer", "ZeroshotCLIP", "--dataset-config-file"]
    args += [str(ROOT / "configs/datasets/imagefolder.yaml"), "FEATURES.DIR", str(tmp_path / "cache")]
    return DATASET_REGISTRY.get("ImageFolder")(train.setup_cfg(train.parse_args(args)))


@pytest.fixture(autouse=True)
def suffixes(monkeypatch):
    """JPEG files are often called .jfif; Pillow does not save under that name."""
    Image.init()
    monkeypatch.setitem(Image.SAVE, "JFIF", Image.SAVE["JPEG"])


@pytest.mark.parametrize("tree", blocks("text read"))
def test_folders_that_are_read(tmp_path, tree):
    data = load(make(tree, tmp_path), tmp_path)
    assert [name.replace("_", " ") for name in data.classnames] == ["arctic fox", "red fox"]
    files = re.findall(r" (?!\._|icon)[\w.]+\.\w+", tree)
    assert len(data.train_x + data.val + data.test) == len(files)


@pytest.mark.parametrize("tree", blocks("text refused"))
def test_folders_that_are_refused(tmp_path, tree):
    with pytest.raises(UserError, match="red fox|red_fox"):
        load(make(tree, tmp_path), tmp_path)


def test_the_commands_run_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    make(blocks("text read")[0], tmp_path)
    Path("names.txt").write_text(blocks("text names")[0])
    assert read_names("names.txt", "--names") == ["kit fox", "fennec fox"]
    for line in "".join(blocks("bash")).replace("\\\n", " ").splitlines():
        _, script, *words = shlex.split(line)
        words = [str(ROOT / word) if word.startswith("configs/") else word for word in words]
        if script == "train.py":
            train.main([*words, "OPTIM.MAX_EPOCH", "1", "DATALOADER.NUM_WORKERS", "0"])
        else:
            importlib.import_module(Path(script).stem).main(words)
    results = {name: json.loads(Path(f"output/{name}/results.json").read_text()) for name in ("foxes", "all_foxes")}
    assert 0 <= results["foxes"]["metrics"]["accuracy"] <= 100 and not results["foxes"]["unsupported"]
    assert results["all_foxes"]["metrics"] == {} and "SPLIT none" in results["all_foxes"]["unsupported"]["accuracy"]
    assert not {path.name for path in Path("my_images").iterdir()} - {"arctic fox", "red fox"}
    said = capsys.readouterr().out
    assert "fennec fox" in said and "6 images of 2 classes: 4 to train on, 0 to validate, 2 to test" in said
