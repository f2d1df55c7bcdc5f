"""The real command line, in this process and as a program, on a tiny bank with the embedded backbone."""

import importlib
import json
import subprocess
import sys

import pytest
import torch
import yaml
from dassl.utils import UserError
from PIL import Image
from runs import ROOT, argv, log, newest_state, results, train_killed_before_epoch
from safetensors.torch import load_file

import train


def test_coops_own_two_steps_equal_the_one_command(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path / "train_base", "CoOp_SHIP"))
    before = (tmp_path / "train_base/results.json").read_bytes()
    for subset in ("new", "base", "all"):
        out = tmp_path / f"test_{subset}"
        words = argv(tiny_bank, out, "CoOp_SHIP", "DATASET.SUBSAMPLE_CLASSES", subset)
        train.main(["--eval-only", "--load-epoch", "3", "--model-dir", str(tmp_path / "train_base"), *words])
        found = results(out, f"results-{subset}.json")["metrics"]["accuracy"]
        assert found == pytest.approx(results(tmp_path / "train_base")["metrics"][subset])
        assert not (out / "results.json").exists()
    assert (tmp_path / "train_base/results.json").read_bytes() == before


def test_print_config_is_flat_and_makes_the_same_configuration_again(tiny_bank, tmp_path, capsys):
    train.main(["--print-config", *argv(tiny_bank, tmp_path / "out", "CoOp_SHIP", "OPTIM.LR", "0.25")])
    text = capsys.readouterr().out
    found = yaml.safe_load(text)
    assert "_BASE_" not in text and "PER_DATASET" not in text and not (tmp_path / "out").exists()
    # of the command line, of the data set's file, and of a base of the trainer's file
    read = found["OPTIM"]["LR"], found["DATASET"]["NAME"], found["MODEL"]["BACKBONE"]["NAME"]
    assert read == (0.25, "Caltech101", "MiniCLIP")
    (tmp_path / "flat.yaml").write_text(text)
    train.main(["--print-config", "--config-file", str(tmp_path / "flat.yaml")])
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("flags, rows", [([], 16 * 2), (["--only-drawn"], 8 * 2 + 8)])
def test_the_bank_equals_its_images(tmp_path, shared, monkeypatch, flags, rows):
    """A run on a bank made of images equals the run on the images, also where only drawn images (2 of 4 a class) have
    all views."""
    data, bank, split = tmp_path / "data", tmp_path / "bank.safetensors", {"train": [], "val": [], "test": []}
    source, top = shared / "data/caltech-101/101_ObjectCategories", data / "caltech-101"
    for label, folder in enumerate(["ant", "barrel", "bass", "beaver"]):
        (top / "101_ObjectCategories" / folder).mkdir(parents=True)
        for i, file in enumerate(sorted((source / folder).glob("*.jpg"))[:8]):
            Image.open(file).convert("RGB").resize((80, 64)).save(top / "101_ObjectCategories" / folder / file.name)
            part = "train" if i < 4 else "val" if i < 5 else "test"
            split[part].append([f"{folder}/{file.name}", label, folder])
    (top / "split_zhou_Caltech101.json").write_text(json.dumps(split))
    words = ["--root", data, "--out", bank, "--dataset", "caltech101", "--views", "2", "--workers", "0", *flags]
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = importlib.import_module("extract_features")
    monkeypatch.setattr(script, "SEEDS", (1,))
    monkeypatch.setattr(script, "LISTED_SHOTS", (2,))
    script.main([str(word) for word in words])
    assert len(load_file(bank)["train.features"]) == rows
    options = "DATASET.NUM_SHOTS 2 FEATURES.VIEWS 2 DATALOADER.NUM_WORKERS 0 FEATURES.DIR".split()
    options.append(str(tmp_path / "cache"))
    train.main(argv(bank, tmp_path / "bank", "CoOp", *options))
    train.main(["--root", str(data), *argv("", tmp_path / "images", "CoOp", *options)])
    assert results(tmp_path / "bank")["metrics"] == results(tmp_path / "images")["metrics"]
    of_bank, of_images = newest_state(tmp_path / "bank")["ctx"], newest_state(tmp_path / "images")["ctx"]
    assert torch.allclose(of_bank, of_images, atol=1e-6)


@pytest.mark.parametrize(
    "options, words",
    [
        ("TRAINER.NAME CoOpp", ["CoOpp", "CoOp, "]),
        ("TRAINER.COOP.N_CTXX 4", ["TRAINER.COOP.N_CTXX", "TRAINER.COOP.N_CTX"]),
        ("DATASET.NAME Caltech", ["Caltech", "Caltech101, "]),
        ("MODEL.BACKBONE.NAME ViT-B-16", ["ViT-B-16", "ViT-B/16"]),
        ("TRAINER.COOP.PREC fp16", ["TRAINER.COOP.PREC", "fp32"]),
        ("OPTIM.MAX_EPOCH many", ["MAX_EPOCH"]),
        ("OPTIM.MAX_EPOCH", ["pairs"]),
        ("TASK base2nw", ["base2nw", "base2new"]),
        ("FEATURES.BANK nowhere.safetensors", ["nowhere.safetensors"]),
        ("TRAINER.COOP.N_CTX 0", ["N_CTX is 0; it must be 1 or more"]),
        ("DATASET.SUBSAMPLE_CLASSES bsae", ["must be one of base"]),
        ("TRAINER.COOP.N_CTX 7", ["N_CTX is 7", "CTX_INIT", "4 tokens"]),
    ],
)
def test_bad_input_is_answered_in_words(tiny_bank, tmp_path, options, words):
    args = argv(tiny_bank, tmp_path, "CoOp", *options.split())
    with pytest.raises(UserError) as error:
        train.main(args)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_as_a_program_an_error_is_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, ROOT / "train.py", "--trainer", "Nobody"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: unknown trainer 'Nobody'")
    assert "Traceback" not in done.stderr


def test_an_unseeded_run_draws_a_seed_and_keeps_it(tiny_bank, tmp_path, monkeypatch, capsys):
    words = argv(tiny_bank, tmp_path / "cut", "CoOp", seed=-1)
    train_killed_before_epoch(monkeypatch, 2, words)
    train.main(words)
    found = results(tmp_path / "cut")
    assert found["unseeded"] is True and 0 <= found["seed"] < 2**32
    assert f"--seed {found['seed']} repeats this run" in log(tmp_path / "cut")
    train.main(argv(tiny_bank, tmp_path / "again", "CoOp", seed=found["seed"]))
    again = results(tmp_path / "again")
    assert again["metrics"] == found["metrics"] and not again["unseeded"]
    assert again["identity"] == found["identity"]
    train.main(words)
    assert "done already" in capsys.readouterr().out
