"""The real command line, in this process and as a program, on a tiny bank with the embedded backbone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dassl.utils import UserError
from runs import Killed, argv, log, results, train_killed_before_epoch
from safetensors.torch import load_file

import train

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("trainer", ["ZeroshotCLIP", "CoOp", "CoOp_SHIP"])
def test_base2new_writes_every_metric(tiny_bank, tmp_path, trainer):
    out = tmp_path / "base2new" / "caltech101" / "shots_4" / trainer / "miniclip" / "seed1"
    train.main(argv(tiny_bank, out, trainer))
    found = results(out)
    assert {"base", "new", "H", "all"} <= set(found["metrics"])
    assert all(0 <= value <= 100 for value in found["metrics"].values())
    assert (found["task"], found["dataset"], found["trainer"], found["config"], found["seed"]) == (
        "base2new",
        "caltech101",
        trainer,
        "miniclip",
        1,
    )
    log = (out / "log.txt").read_text()
    after = log[log.index("Finish training") :]
    assert (
        after.count("* accuracy: ") == 1
        and "* new_accuracy: " in after
        and "* all_accuracy: " in after
        and "* H: " in after
    )
    assert (out / "config.yaml").exists()


@pytest.mark.parametrize("trainer", ["CoOp", "CoOp_SHIP"])
def test_training_lowers_the_loss(tiny_bank, tmp_path, trainer, capsys):
    train.main(argv(tiny_bank, tmp_path, trainer, "OPTIM.MAX_EPOCH", "8", "OPTIM.LR", "0.02", "TRAIN.PRINT_FREQ", "1"))
    import re

    losses = [float(x) for x in re.findall(r"loss (\d+\.\d+)", (tmp_path / "log.txt").read_text())]
    assert sum(losses[-2:]) < sum(losses[:2])


@pytest.mark.parametrize("trainer", ["CoOp", "CoOp_SHIP"])
def test_same_seed_same_metrics_other_seed_other_run(tiny_bank, tmp_path, trainer):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train.main(argv(tiny_bank, tmp_path / name, trainer, seed=seed))
    weights = [
        torch.load(tmp_path / n / "prompt_learner/model.pth.tar-3", weights_only=True)["state_dict"]["ctx"]
        for n in "abc"
    ]
    assert results(tmp_path / "a")["metrics"] == results(tmp_path / "b")["metrics"]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("when", ["generator", "finetune"])
def test_a_killed_run_ends_like_one_left_alone(tiny_bank, tmp_path, monkeypatch, when):
    from trainers.generative.training import GeneratorTraining

    train.main(argv(tiny_bank, tmp_path / "whole", "CoOp_SHIP"))
    killed = argv(tiny_bank, tmp_path / "cut", "CoOp_SHIP")
    if when == "generator":
        epoch = GeneratorTraining._epoch
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(GeneratorTraining, "_epoch", lambda self, f, o, e: epoch(self, f, o, e) if e < 2 else kill())
            train.main(killed)
    else:
        train_killed_before_epoch(monkeypatch, 2, killed)
    assert not (tmp_path / "cut" / "results.json").exists()
    train.main(killed)
    assert "after 2 epochs" in "".join(p.read_text() for p in (tmp_path / "cut").glob("log.txt*"))
    assert results(tmp_path / "cut")["metrics"] == results(tmp_path / "whole")["metrics"]
    one, two = (
        torch.load(tmp_path / n / "prompt_learner/model.pth.tar-3", weights_only=True)["state_dict"]["ctx"]
        for n in ("whole", "cut")
    )
    assert torch.equal(one, two)


def test_seconds_of_a_run_that_was_cut_twice_count_each_stage_once(tiny_bank, tmp_path, monkeypatch):
    from trainers.core.run.checkpoints import read, write

    from trainers.generative.training import ROLLING, GeneratorTraining

    killed, epoch = argv(tiny_bank, tmp_path, "CoOp_SHIP"), GeneratorTraining._epoch
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(GeneratorTraining, "_epoch", lambda self, f, o, e: epoch(self, f, o, e) if e < 2 else kill())
        train.main(killed)
    state = read(str(tmp_path / "generator" / ROLLING))
    assert 0 < state["seconds"]["generator"] < 1000
    write(state | {"seconds": {"generator": 1000.0}}, str(tmp_path / "generator"), name=ROLLING)
    train_killed_before_epoch(monkeypatch, 2, killed)
    train.main(killed)
    assert 1000 < results(tmp_path)["seconds"]["generator"] < 1900


def kill():
    raise Killed


def test_coops_own_two_steps_equal_the_one_command(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path / "train_base", "CoOp_SHIP"))
    before = (tmp_path / "train_base" / "results.json").read_bytes()
    for subset, metric in (("new", "new"), ("base", "base"), ("all", "all")):
        out = tmp_path / f"test_{subset}"
        train.main(
            ["--eval-only", "--load-epoch", "3", "--model-dir", str(tmp_path / "train_base")]
            + argv(tiny_bank, out, "CoOp_SHIP", "DATASET.SUBSAMPLE_CLASSES", subset)
        )
        found = json.loads((out / f"results-{subset}.json").read_text())["metrics"]
        assert found["accuracy"] == pytest.approx(results(tmp_path / "train_base")["metrics"][metric])
        assert not (out / "results.json").exists()
    assert (tmp_path / "train_base" / "results.json").read_bytes() == before


def test_fewshot_task_and_best_val(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path, "CoOp", "TEST.FINAL_MODEL", "best_val", task="fewshot"))
    found = results(tmp_path)
    assert set(found["metrics"]) == {"accuracy"} and "validation" in found["selection"]
    assert (tmp_path / "prompt_learner" / "model-best.pth.tar").exists()


def test_the_bank_equals_its_images(tmp_path, shared):
    """A run on a bank made of images equals the run on the images."""
    from PIL import Image

    root = tmp_path / "data" / "caltech-101"
    source = shared / "data/caltech-101/101_ObjectCategories"
    split = {"train": [], "val": [], "test": []}
    for label, folder in enumerate(["ant", "barrel", "bass", "beaver"]):
        files = sorted((source / folder).glob("*.jpg"))[:8]
        (root / "101_ObjectCategories" / folder).mkdir(parents=True)
        for i, file in enumerate(files):
            Image.open(file).convert("RGB").resize((80, 64)).save(root / "101_ObjectCategories" / folder / file.name)
            part = "train" if i < 4 else "val" if i < 5 else "test"
            split[part].append([f"{folder}/{file.name}", label, folder])
    (root / "split_zhou_Caltech101.json").write_text(json.dumps(split))
    bank = tmp_path / "bank.safetensors"
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/extract_features.py", "--root", tmp_path / "data", "--out", bank]
        + ["--dataset", "caltech101", "--views", "2", "--workers", "0"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank.safetensors", "data"]
    assert len(load_file(bank)["train.features"]) == 16 * 2
    shutil.rmtree(root / "split_fewshot", ignore_errors=True)
    found = {}
    for name, flags in (("bank", []), ("images", ["--root", str(tmp_path / "data")])):
        options = "DATASET.NUM_SHOTS 2 FEATURES.VIEWS 2 DATALOADER.NUM_WORKERS 0 FEATURES.DIR".split()
        options += [str(tmp_path / "cache")]
        args = argv(bank if name == "bank" else "", tmp_path / name, "CoOp", *options)
        train.main(flags + args)
        found[name] = torch.load(tmp_path / name / "prompt_learner/model.pth.tar-3", weights_only=True)["state_dict"][
            "ctx"
        ]
    assert results(tmp_path / "bank")["metrics"] == results(tmp_path / "images")["metrics"]
    assert torch.allclose(found["bank"], found["images"], atol=1e-6)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"trainer": "CoOpp"}, ["CoOpp", "CoOp, "]),
        ({"options": ["TRAINER.COOP.N_CTXX", "4"]}, ["TRAINER.COOP.N_CTXX", "TRAINER.COOP.N_CTX"]),
        ({"options": ["DATASET.NAME", "Caltech"]}, ["Caltech", "Caltech101, "]),
        ({"options": ["MODEL.BACKBONE.NAME", "ViT-B-16"]}, ["ViT-B-16", "ViT-B/16"]),
        ({"options": ["TRAINER.COOP.PREC", "fp16"]}, ["TRAINER.COOP.PREC", "fp32"]),
        ({"options": ["OPTIM.MAX_EPOCH", "many"]}, ["MAX_EPOCH"]),
        ({"options": ["OPTIM.MAX_EPOCH"]}, ["pairs"]),
        ({"options": ["TASK", "base2nw"]}, ["base2nw", "base2new"]),
        ({"options": ["FEATURES.BANK", "nowhere.safetensors"]}, ["nowhere.safetensors"]),
        ({"options": ["INPUT.PIXEL_MEAN", "(0.1,0.2,0.3)"]}, ["PIXEL_MEAN", "0.498"]),
        ({"options": ["TRAINER.COOP.CTX_INIT", "word " * 80]}, ["77"]),
        ({"options": ["TRAINER.COOP.CTX_INIT", "", "TRAINER.COOP.N_CTX", "0"]}, ["N_CTX"]),
    ],
)
def test_bad_input_is_answered_in_words(tiny_bank, tmp_path, change, words):
    args = argv(tiny_bank, tmp_path, "CoOp", *change.get("options", []))
    if "trainer" in change:
        args[args.index("CoOp")] = change["trainer"]
    with pytest.raises(UserError) as error:
        train.main(args)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_as_a_program_an_error_is_one_line_and_exit_code_2(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "--trainer", "Nobody"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2 and done.stderr.startswith("error: trainer 'Nobody'") and "Traceback" not in done.stderr


def test_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(tiny_bank, tmp_path, monkeypatch):
    from trainers.coop import CoOp

    original = CoOp.compute_loss

    def broken(self, features, labels):
        loss, logits = original(self, features, labels)
        return (loss * float("nan") if self.epoch == 2 else loss), logits

    monkeypatch.setattr(CoOp, "compute_loss", broken)
    with pytest.raises(UserError, match=r"nan at epoch 3, step 1 of 2.*model-rolling"):
        train.main(argv(tiny_bank, tmp_path, "CoOp"))
    assert torch.load(tmp_path / "prompt_learner/model-rolling.pth.tar", weights_only=True)["epoch"] == 2


def test_a_damaged_checkpoint_is_refused(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path, "CoOp"))
    file = tmp_path / "prompt_learner/model.pth.tar-3"
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(UserError, match="model.pth.tar-3"):
        train.main(["--eval-only", "--model-dir", str(tmp_path), *argv(tiny_bank, tmp_path / "eval", "CoOp")])


def test_resuming_with_other_classes_is_refused(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path, "CoOp"))
    with pytest.raises(UserError, match="TASK was 'base2new', is now 'fewshot'"):
        train.main(argv(tiny_bank, tmp_path, "CoOp", task="fewshot"))


@pytest.mark.parametrize(
    "names, problem",
    [
        ("dog\nzebra\n", "line 1 'dog' repeats the base class 'dog'"),
        ("zebra\n\nlion\n", "line 2 is empty"),
        ("zebra\nZebra\n", "line 2 'Zebra' repeats line 1"),
        ("word " * 90 + "\n", "77"),
        ("", "line 1 is empty"),
    ],
)
def test_bad_new_class_names(tiny_bank, tmp_path, names, problem):
    file = tmp_path / "names.txt"
    file.write_text(names)
    with pytest.raises(UserError) as error:
        train.main(
            argv(tiny_bank, tmp_path / "out", "CoOp_SHIP", "TRAINER.SHIP.NEW_CLASSES", str(file), task="fewshot")
        )
    assert problem in str(error.value)


@pytest.mark.parametrize("trainer, key", [("CoOp_SHIP", "TRAINER.SHIP.NEW_CLASSES"), ("CoOp_SAR", "TRAINER.SAR.NAMES")])
def test_what_is_no_file_in_the_place_of_names_is_refused(tiny_bank, tmp_path, trainer, key):
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for ever
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, found in (("pipe", "is a folder, a pipe or a device"), ("loop", "does not exist")):
        with pytest.raises(UserError, match=f"{key} .*{name} {found}; it must be a text file"):
            train.main(argv(tiny_bank, tmp_path / "out", trainer, key, str(tmp_path / name)))


def test_generator_is_reused_by_init_from(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path / "first", "CoOp_SHIP"))
    train.main(argv(tiny_bank, tmp_path / "second", "CoOp_SHIP", "TRAINER.SHIP.INIT_FROM", str(tmp_path / "first")))
    assert results(tmp_path / "first")["metrics"] == results(tmp_path / "second")["metrics"]
    with pytest.raises(UserError, match="TRAINER.SHIP.N_CTX 4"):
        options = ["TRAINER.SHIP.INIT_FROM", str(tmp_path / "first"), "TRAINER.SHIP.N_CTX", "2"]
        train.main(argv(tiny_bank, tmp_path / "third", "CoOp_SHIP", *options))


# ------------------------------------------------------------------------------------------------ seeds


def unseeded(bank, out, *options):
    words = argv(bank, out, "CoOp", *options)
    at = words.index("--seed")
    return words[:at] + words[at + 2 :]


def test_an_unseeded_run_draws_a_seed_and_keeps_it(tiny_bank, tmp_path, monkeypatch, capsys):
    train_killed_before_epoch(monkeypatch, 2, unseeded(tiny_bank, tmp_path / "cut"))
    train.main(unseeded(tiny_bank, tmp_path / "cut"))
    found = results(tmp_path / "cut")
    assert found["unseeded"] is True and 0 <= found["seed"] < 2**32
    assert f"--seed {found['seed']} repeats this run" in log(tmp_path / "cut")
    train.main(argv(tiny_bank, tmp_path / "again", "CoOp", seed=found["seed"]))
    again = results(tmp_path / "again")
    assert again["metrics"] == found["metrics"] and "unseeded" not in again
    assert again["identity"] == found["identity"]
    capsys.readouterr()
    train.main(unseeded(tiny_bank, tmp_path / "cut"))
    assert "done already" in capsys.readouterr().out
    train.main(["--force", *unseeded(tiny_bank, tmp_path / "cut")])
    assert results(tmp_path / "cut")["seed"] != found["seed"]


@pytest.mark.parametrize("seed", [2**32, 10**30])
def test_a_seed_that_is_too_large_is_a_sentence(tiny_bank, tmp_path, seed):
    with pytest.raises(UserError, match="[sS]eed|SEED"):
        train.main(argv(tiny_bank, tmp_path, "CoOp", seed=seed))


def test_the_largest_seed_trains(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path, "ZeroshotCLIP", seed=2**32 - 1))
    assert results(tmp_path)["seed"] == 2**32 - 1
