"""Checkouts of CoOp and its descendants, with our trainers/ copied in under another name; none of their files changes
but for the README's lines in train.py."""

import importlib
import json
import shutil

from helpers.coop_checkout import COLOURS, ROOT, make_checkout, run

import trainers as ship

STOCK = 'CTX_INIT = ""'
SMALL = "DATASET.SUBSAMPLE_CLASSES base OPTIM.MAX_EPOCH 1 FEATURES.VIEWS 1".split()


def make(folder, declared=STOCK):
    """A checkout that has `declared` options of its own."""
    make_checkout(folder, "trainers.ship_trainers")
    checkout = folder / "checkout"
    shutil.copytree(ROOT / "trainers", checkout / "trainers/ship_trainers")
    text = (checkout / "train.py").read_text()
    assert STOCK in text
    (checkout / "train.py").write_text(text.replace(STOCK, declared))
    return folder


def finished(checkout, *words):
    done = run(checkout, *map(str, words))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_twin_trains_is_evaluated_and_opened_by_our_scripts(tmp_path, monkeypatch, capsys):
    """config.yaml is written by the trainer; the keys of the checkout's own trainers do not stand in the way."""
    checkout, out = make(tmp_path), tmp_path / "out"
    base = "TASK base2new DATASET.NUM_SHOTS 2 FEATURES.VIEWS 1 TRAINER.COOP.PREC fp32 TRAINER.COOP.THEIRS 3".split()
    # the checkout's SUBSAMPLE_CLASSES is all: the task's is base
    said = finished(checkout, "--trainer", "CoOp_SHIP", "--output-dir", out, *base)
    assert "CoOp is registered already, by trainers.coop" in said and "CoOp_SHIP: 6 classes" in said
    found = json.loads((out / "results.json").read_text())
    assert {"base", "new", "H", "all"} <= set(found["metrics"]) and found["dataset"] == "Colours"
    assert (found["method"], found["plugins"]) == ("CoOp", ["SHIP"])
    new = "DATASET.SUBSAMPLE_CLASSES new TRAINER.COOP.PREC fp32".split()
    evaluate = ["--trainer", "CoOp_SHIP", "--output-dir", checkout / "new", "--eval-only", "--model-dir", out, *new]
    assert f"* accuracy: {found['metrics']['new']:.1f}%" in finished(checkout, *evaluate)
    photo = next((checkout / "data/colours/red").glob("*.png"))
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    importlib.import_module("predict").main([str(out), str(photo)])
    predicted = capsys.readouterr().out.splitlines()[-1].removeprefix(f"{photo}: ").split(", ")
    assert len(predicted) == 3 and {name.split()[0] for name in predicted} <= set(COLOURS)


def test_a_checkout_of_kgcoops_shape_trains_our_twins(tmp_path):
    """CTX_INIT is a truth value there; and TASK is another's, as in MMRL's."""
    declared = 'CTX_INIT = False\n    cfg.TRAINER.COOP.W = 8.0\n    cfg.TASK = "B2N"'
    checkout, out = make(tmp_path, declared), tmp_path / "out"
    config = checkout / "checkout/config.yaml"
    config.write_text(config.read_text().replace('CTX_INIT: "a photo of a"', "CTX_INIT: True"))
    said = finished(checkout, "--trainer", "CoOp_SHIP", "--output-dir", out, *SMALL, "TRAINER.COOP.PREC", "fp32")
    assert "TASK B2N of this checkout is read as base2new" in said
    assert "TRAINER.COOP.CTX_INIT True of this checkout is read as 'a photo of a'" in said
    found = json.loads((out / "results.json").read_text())
    assert found["task"] == "base2new" and {"base", "new", "H", "all"} <= set(found["metrics"])
    assert found["identity"]["TRAINER.COOP.CTX_INIT"] == "a photo of a" and found["identity"]["TASK"] == "base2new"
    assert ship.run_config(str(out)).TRAINER.COOP.CTX_INIT == "a photo of a"  # our own scripts open it
