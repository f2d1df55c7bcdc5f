"""scripts/predict.py and synthesize.py on a finished run, without its data set."""

import csv
import json

import predict
import pytest
import synthesize
import torch
from dassl.utils import UserError
from helpers.banks import read_bank
from PIL import Image
from runs import argv
from safetensors import safe_open

import train
from trainers import load, open_run


@pytest.fixture(scope="module")
def run(tiny_bank, tmp_path_factory):
    """A tiny CoOp_SHIP run whose bank is gone afterwards."""
    out = tmp_path_factory.mktemp("run")
    bank = out / "bank.safetensors"
    bank.write_bytes(tiny_bank.read_bytes())
    train.main(argv(bank, out / "seed1", "CoOp_SHIP"))
    bank.unlink()
    return out / "seed1"


@pytest.fixture
def images(tmp_path):
    """A folder with two images, a broken one and two hidden files."""
    folder = tmp_path / "images"
    for name in ("a.png", "deep/b.jpg", ".hidden.png"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (50, 40), (200, 30, 60)).save(folder / name)
    (folder / "._a.png").write_bytes(b"no image")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_the_loaded_run_predicts_what_it_was_evaluated_with(run, tiny_bank):
    model = load(run)
    tensors, metadata = read_bank(tiny_bank)
    features, test = tensors["test.features"].float(), metadata["split"]["test"]
    found = model.predict(features, top=99)
    right = sum(answer.name == item[2] for answer, item in zip(found, test, strict=True))
    assert right / len(test) * 100 == pytest.approx(json.loads((run / "results.json").read_text())["metrics"]["all"])
    assert all(len(answer.names) == 7 and sum(answer.probabilities) == pytest.approx(1, abs=1e-5) for answer in found)
    assert model.among(["zebra", "dog"]).classnames == ("zebra", "dog") and len(model.classnames) == 7


def test_one_unreadable_image_does_not_stop_the_others(run, images, tmp_path, capsys):
    table, wide, answers = (tmp_path / "out" / name for name in ("p.csv", "wide.csv", "p.json"))
    words = f"{run} {images} --top 2 --csv {table} --wide {wide} --json {answers}"
    assert predict.main(words.split()) == 1
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    shown = " ".join(row["image"].rpartition("images/")[2] + row["rank"] for row in rows)
    assert shown == "a.png1 a.png2 broken.png deep/b.jpg1 deep/b.jpg2"
    assert rows[2]["name"] == "(unreadable)" and not rows[2]["probability"]
    with open(wide, newline="") as file:
        (_, _, *names), first, broken, _ = csv.reader(file)
    assert names == list(load(run).classnames) and sum(map(float, first[2:])) == pytest.approx(1, abs=1e-5)
    best = max(range(7), key=lambda i: float(first[2 + i]))
    assert first[1] == names[best] == rows[0]["name"] and broken[1:] == ["(unreadable)", *[""] * 7]
    listed = json.loads(answers.read_text())
    assert listed[0]["names"] == [rows[0]["name"], rows[1]["name"]] and "broken.png" in listed[1]["error"]
    assert listed[0]["probabilities"][0] == float(rows[0]["probability"]) and not listed[1]["names"]
    out, err = capsys.readouterr()
    assert f"a.png: {rows[0]['name']} {float(rows[0]['probability']):.1%}" in out and "broken.png: (unreadable)" in out
    assert err.count("error: ") == 1 and "broken.png" in err
    (images / "broken.png").unlink()
    assert predict.main([str(run), str(images)]) == 0


def test_names_of_a_file(run, images, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("ant\n# no name\nzebra\n")
    assert predict.main([str(run), str(images / "a.png"), "--names", str(tmp_path / "names.txt")]) == 0
    pairs = capsys.readouterr().out.partition("a.png: ")[2].split(", ")
    assert sorted(pair.split()[0] for pair in pairs) == ["ant", "zebra"]


def test_bad_input(run, images, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, message in (
        ([tmp_path, images], "config.yaml"),
        ([run, tmp_path / "none.png"], "none.png"),
        ([run, tmp_path / "empty"], "no image"),
        ([run, images, "--names", tmp_path / "none.txt"], "--names .*none.txt cannot be read"),
    ):
        with pytest.raises(UserError, match=message):
            predict.main(list(map(str, words)))


def test_synthesize_exports_features_and_the_weights_the_run_classifies_with(run, tmp_path, tiny_bank):
    synthesize.main([str(run), "--per-class", "3", "--out", str(tmp_path / "s.safetensors")])
    with safe_open(tmp_path / "s.safetensors", framework="pt") as file:
        header = file.metadata()
        features, labels, weights = (file.get_tensor(name) for name in ("features", "labels", "class_weights"))
    names = json.loads(header["classnames"])
    assert labels.tolist() == [i for i in range(len(names)) for _ in range(3)]
    assert torch.allclose(features.norm(dim=1), torch.ones(1), atol=1e-5)
    assert features.view(len(names), 3, -1).std(1).max() > 0
    trainer = open_run(str(run))
    images = read_bank(tiny_bank)[0]["test.features"].float()
    expected = trainer.logits(trainer.head_for(names), images)
    assert torch.allclose(float(header["logit_scale"]) * images @ weights.t(), expected, atol=1e-4)
