"""The trainers/ folder copied into a CoOp checkout under another name: one import, one line for the defaults (README,
"In your CoOp checkout")."""

import importlib
import json
import shutil

import pytest
import torch
from helpers.coop_checkout import COLOURS, ROOT, make_checkout, run


@pytest.fixture
def checkout(tmp_path):
    """A CoOp-shaped tree with our trainers/ copied into its trainers/ as ship_trainers/."""
    make_checkout(tmp_path, "trainers.ship_trainers")
    shutil.copytree(
        ROOT / "trainers", tmp_path / "checkout/trainers/ship_trainers", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path


def test_the_twin_trains_is_evaluated_and_opened_by_our_scripts(checkout, monkeypatch, capsys):
    """config.yaml is written by the trainer; the keys of the checkout's own trainers do not stand in the way."""
    out, photo = checkout / "out", next((checkout / "data/colours/red").glob("*.png"))
    ship = "--trainer CoOp_SHIP --output-dir".split()
    base = "TASK base2new DATASET.NUM_SHOTS 2 FEATURES.VIEWS 1 TRAINER.COOP.PREC fp32 TRAINER.COOP.THEIRS 3".split()
    done = run(checkout, *ship, str(out), *base)  # the checkout's SUBSAMPLE_CLASSES is all: the task's is base
    assert done.returncode == 0, done.stderr
    assert "CoOp is registered already, by trainers.coop" in done.stdout and "CoOp_SHIP: 6 classes" in done.stdout
    found = json.loads((out / "results.json").read_text())
    assert {"base", "new", "H", "all"} <= set(found["metrics"]) and found["dataset"] == "Colours"
    assert (found["method"], found["plugins"]) == ("CoOp", ["SHIP"])
    checkpoint = torch.load(out / "generator/generator.pth.tar", weights_only=True)
    assert json.loads(checkpoint["settings"])["classnames"] == ["black", "blue", "green"]
    new = "DATASET.SUBSAMPLE_CLASSES new TRAINER.COOP.PREC fp32".split()
    again = run(checkout, *ship, str(checkout / "new"), "--eval-only", "--model-dir", str(out), *new)
    assert again.returncode == 0, again.stderr
    assert f"* accuracy: {found['metrics']['new']:.1f}%" in again.stdout
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    importlib.import_module("predict").main([str(out), str(photo)])
    predicted = capsys.readouterr().out.splitlines()[-1].removeprefix(f"{photo}: ").split(", ")
    assert len(predicted) == 3 and {name.split()[0] for name in predicted} <= set(COLOURS)
