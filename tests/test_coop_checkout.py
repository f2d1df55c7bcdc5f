"""The trainers/ folder copied into a CoOp checkout under another name: one import, one line for the defaults (README,
"In your CoOp checkout")."""

import importlib
import json
import shutil

import pytest
import torch
from helpers.coop_checkout import COLOURS, ROOT, make_checkout, run
from helpers.rehearsal import small


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


# One process for all, because most of a run's time is the start of Python.
EVERY_TWIN = """
import contextlib, io, runpy, sys
from pathlib import Path
from dassl.engine import TRAINER_REGISTRY
from dassl.config import get_cfg_default
import trainers.coop, trainers.ship_trainers

trainers.ship_trainers.extend_cfg(get_cfg_default())
words = sys.argv[1:]
kinds = {name: TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()}
for name, kind in kinds.items():
    if not getattr(kind, "PLUGINS", ()) or kind.TUNES_IMAGES:  # the embedded backbone has no ViT to tune
        continue
    sys.argv = ["train.py", *words, "--trainer", name, "--output-dir", f"out/{name}", *"OPTIONS".split()]
    with contextlib.redirect_stdout(io.StringIO()):
        runpy.run_path("train.py", run_name="__main__")
    print(name)
"""


@pytest.mark.slow
def test_every_twin_runs_in_a_coop_checkout(checkout):
    options = " ".join([*small("features"), "TASK base2new TRAINER.COOP.PREC fp32"])
    script = checkout / "checkout/every_twin.py"
    script.write_text(EVERY_TWIN.replace("OPTIONS", options))
    done = run(checkout, script="every_twin.py")
    assert done.returncode == 0, done.stderr
    ran = [line for line in done.stdout.splitlines() if " " not in line]
    assert {"CoOp_SHIP_SAR_GATE", "Tip_Adapter_F_SHIP_GATE", "PVA_SHIP_SAR", "CoCoOp_SAR"} <= set(ran)
    for name in ran:
        found = json.loads((checkout / "checkout/out" / name / "results.json").read_text())
        assert found["trainer"] == name and "base" in found["metrics"]
        assert set(found["plugins"]) == set(name.split("_")) & {"SHIP", "SAR", "GATE"}
        for plugin, report in (("SHIP", "generator"), ("SAR", "sar")):
            assert report in found["extra"] or plugin not in found["plugins"], name
        gate = checkout / "checkout/out" / name / "gate/gate.safetensors"
        assert gate.exists() == ("GATE" in found["plugins"]), name
