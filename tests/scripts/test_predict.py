"""scripts/predict.py on a finished run, without its dataset."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dassl.utils import UserError
from PIL import Image
from runs import argv

import train

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def run(tiny_bank, tmp_path_factory):
    """A tiny CoOp_SHIP run whose bank is gone afterwards."""
    out = tmp_path_factory.mktemp("run")
    bank = out / "bank.safetensors"
    bank.write_bytes(tiny_bank.read_bytes())
    train.main(argv(bank, out / "seed1", "CoOp_SHIP"))
    bank.unlink()
    return out / "seed1"


def test_the_loaded_run_predicts_what_it_was_evaluated_with(run, tiny_bank):
    import predict
    from trainers.core.features.bank import read_bank

    trainer = predict.open_run(str(run))
    tensors, metadata = read_bank(tiny_bank)
    test = json.loads(metadata["split"])["test"]
    predictions = predict.classify(trainer, tensors["test.features"].float(), trainer.trained_classnames, top=1)
    right = sum(ranked[0][0] == item[2] for ranked, item in zip(predictions, test))
    assert right / len(test) * 100 == pytest.approx(json.loads((run / "results.json").read_text())["metrics"]["all"])
    whole = predict.classify(trainer, tensors["test.features"][:3].float(), trainer.trained_classnames, top=99)
    assert all(len(ranked) == 7 and sum(p for _, p in ranked) == pytest.approx(1, abs=1e-5) for ranked in whole)
    assert all(ranked == sorted(ranked, key=lambda pair: -pair[1]) for ranked in whole)
    other = predict.classify(trainer, tensors["test.features"][:3].float(), ["zebra", "dog"], top=5)
    assert {name for ranked in other for name, _ in ranked} == {"zebra", "dog"}
    assert torch.is_grad_enabled()


def predict_program(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "scripts/predict.py", *map(str, arguments)], capture_output=True, text=True
    )


def test_files_and_folders_to_csv(run, tmp_path):
    for name in ("a.png", "deep/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (50, 40), (200, 30, 60)).save(tmp_path / name)
    done = predict_program(
        run, tmp_path / "a.png", tmp_path / "deep", "--top", "2", "--csv", tmp_path / "out" / "p.csv"
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(open(tmp_path / "out" / "p.csv")))
    assert [(Path(r["image"]).name, r["rank"]) for r in rows] == [
        ("a.png", "1"),
        ("a.png", "2"),
        ("b.jpg", "1"),
        ("b.jpg", "2"),
    ]
    assert f"a.png: {rows[0]['name']} {float(rows[0]['probability']):.1%}" in done.stdout


def test_bad_input(run, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for arguments, words in (
        ((tmp_path, tmp_path / "broken.png"), "config.yaml"),
        ((run, tmp_path / "none.png"), "none.png"),
        ((run, tmp_path / "empty"), "no image"),
        ((run, tmp_path / "broken.png"), "broken.png"),
        ((run, tmp_path / "broken.png", "--top", "0"), "--top"),
        ((run, "/dev/zero"), "/dev/zero"),
        ((run, tmp_path / "pipe.png"), "pipe.png"),
        ((run, ROOT / "docs/pictures", "--names", tmp_path / "pipe.png"), "--names: expected a text file"),
    ):
        done = predict_program(*arguments)
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_configuration_that_was_changed_after_training_is_refused(run, tmp_path):
    import predict

    shutil.copytree(run, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    text = config.read_text()
    assert "N_CTX: 16" in text
    config.write_text(text.replace("N_CTX: 16", "N_CTX: 8"))
    with pytest.raises(UserError, match=r"config.yaml was changed after training: TRAINER\S+N_CTX was 16, is now 8"):
        predict.open_run(str(tmp_path / "run"))
    config.write_text(text)
    predict.open_run(str(tmp_path / "run"), options=["OPTIM.LR", "7"])  # asked for, not changed


def test_synthesize_exports_features_and_the_weights_the_run_classifies_with(run, tmp_path, tiny_bank):
    import predict
    from safetensors import safe_open
    from trainers.core.features.bank import read_bank

    done = subprocess.run(
        [sys.executable, ROOT / "scripts/synthesize.py", run, "--per-class", "3", "--out", tmp_path / "s.safetensors"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with safe_open(tmp_path / "s.safetensors", framework="pt") as file:
        header = file.metadata()
        features, labels, weights = (file.get_tensor(name) for name in ("features", "labels", "class_weights"))
    names = json.loads(header["classnames"])
    assert labels.tolist() == [i for i in range(len(names)) for _ in range(3)]
    assert (
        torch.allclose(features.norm(dim=1), torch.ones(len(features)), atol=1e-5)
        and features.view(len(names), 3, -1).std(1).max() > 0
    )
    trainer = predict.open_run(str(run))
    images = read_bank(tiny_bank)[0]["test.features"].float()
    expected = trainer.logits(trainer.head_for(names), images)
    assert torch.allclose(float(header["logit_scale"]) * images @ weights.t(), expected, atol=1e-4)


def test_synthesize_needs_a_run_with_a_generator(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/synthesize.py", tmp_path, "--out", tmp_path / "s"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ") and list(tmp_path.iterdir()) == []
