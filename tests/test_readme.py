"""The README's code runs. (Links and files: test_contributing.py.)"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trainers

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def dropped_in(tree, name):
    """A tree with the README's block `# trainers/<name>.py` in its trainers/, as it says, and nothing else changed."""
    block = re.search(rf"```python\n(# trainers/{name}.py\n.*?)```", README, re.S).group(1)
    assert len(re.sub(r"^\s*(#.*)?$\n?", "", block, flags=re.M).splitlines()) <= 25
    for folder in ("datasets", "third_party", "configs", "scripts"):
        os.symlink(ROOT / folder, tree / folder)
    shutil.copy(ROOT / "train.py", tree)
    shutil.copytree(ROOT / "trainers", tree / "trainers")
    (tree / f"trainers/{name}.py").write_text(block)


def trained(tree, bank, trainer, *options):
    """results.json of a small run of `trainer` through the tree's own train.py."""
    flags = f"--trainer {trainer} --backbone MiniCLIP --seed 1 --output-dir {trainer}".split()
    flags += ["--dataset-config-file", "configs/datasets/caltech101.yaml"]
    small = "DATASET.NUM_SHOTS 4 OPTIM.MAX_EPOCH 5 DATALOADER.TRAIN_X.BATCH_SIZE 8 TASK base2new FEATURES.BANK".split()
    ship = "TRAINER.SHIP.EPOCHS 2 TRAINER.SHIP.BATCH_SIZE 8 TRAINER.SHIP.HIDDEN_DIM 16".split()
    words = [*flags, *small, str(bank), *(ship if "SHIP" in trainer else []), *options]
    done = subprocess.run([sys.executable, "train.py", *words], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((tree / trainer / "results.json").read_text())


def test_the_worked_example_is_a_method_with_a_twin(tiny_bank, tmp_path):
    dropped_in(tmp_path, "linear_probe")
    found = trained(tmp_path, tiny_bank, "LinearProbe")
    assert set(found["metrics"]) == {"base"} and "knows only the classes" in found["unsupported"]["new"]
    assert {"base", "new", "H", "all"} <= set(trained(tmp_path, tiny_bank, "LinearProbe_SHIP")["metrics"])


@pytest.mark.slow
def test_the_worked_plug_in_changes_what_it_says(tiny_bank, tmp_path):
    """Weight 0 is CoOp; another weight is not; and it composes with SHIP."""
    dropped_in(tmp_path, "coop_smooth")
    plain = trained(tmp_path, tiny_bank, "CoOp")
    none = trained(tmp_path, tiny_bank, "CoOp_SMOOTH", "TRAINER.SMOOTH.W", "0.0")
    assert (none["method"], none["plugins"], none["metrics"]) == ("CoOp", ["SMOOTH"], plain["metrics"])
    found = trained(tmp_path, tiny_bank, "CoOp_SHIP_SMOOTH", "TRAINER.SMOOTH.W", "5.0")
    assert found["plugins"] == ["SHIP", "SMOOTH"]
    log = "".join(path.read_text() for path in (tmp_path / "CoOp_SHIP_SMOOTH").glob("log.txt*"))
    assert " smooth " in log and " smooth 0.0000" not in log


def test_the_first_lines_of_python_do_what_they_say(monkeypatch):
    """Ten photos of two classes that have only a name; a further name changes no probability of the printed ones."""
    monkeypatch.setitem(sys.modules, "ship_trainers", trainers)
    monkeypatch.chdir(ROOT)
    found = {}
    exec(re.search(r"```python\n(import ship_trainers as ship\n.*?)```", README, re.S).group(1), found)
    photos = sorted((ROOT / "datasets/animals/photos").iterdir())
    named = [prediction.name for prediction in found["model"].remove_classes(["octopus"]).predict(photos)]
    assert named == ["lobster"] * 5 + ["starfish"] * 5 and found["model"].classnames[-1] == "octopus"
