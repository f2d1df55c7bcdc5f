"""What users do by mistake is refused in a sentence, before anything is trained, or does what was meant."""

import json
import os
import shutil
import threading
import warnings

import pytest
import runs
import torch
from dassl.config import get_cfg_default
from helpers.trees import add_images
from PIL import Image

import train
import trainers
from trainers.core import FeatureTrainer, Plugin, UserError
from trainers.core.contents import content_hashes
from trainers.core.run import alone_in

# ---- what is loaded is compared with what is asked


@pytest.fixture(scope="module")
def adapter(tiny_bank, tmp_path_factory):
    """A CLIP_Adapter that was trained with options of its own."""
    out = tmp_path_factory.mktemp("adapter") / "run"
    own = "TRAINER.CLIP_ADAPTER.RATIO", "0.8", "DATASET.TEMPLATE", "art of the {}, zoo"
    train.main(runs.argv(tiny_bank, out, "CLIP_Adapter", *own))
    return out, own


def test_a_model_is_evaluated_with_the_options_that_it_was_trained_with(adapter, tiny_bank, tmp_path):
    model, own = adapter
    with pytest.raises(UserError, match="trained with TRAINER.CLIP_ADAPTER.RATIO 0.8, and it is now 0.2"):
        runs.evaluate(model, tiny_bank, tmp_path / "a", "CLIP_Adapter")
    with pytest.raises(UserError, match=r"DATASET.TEMPLATE art of the \{\}, zoo, and it is now a photo of a \{\}."):
        runs.evaluate(model, tiny_bank, tmp_path / "b", "CLIP_Adapter", *own[:2])
    found = runs.evaluate(model, tiny_bank, tmp_path / "c", "CLIP_Adapter", *own)["metrics"]
    assert found["accuracy"] == pytest.approx(runs.results(model)["metrics"]["base"])


def test_a_run_compares_what_it_starts_from(tiny_bank, tmp_path):
    train.main(runs.argv(tiny_bank, tmp_path / "a", "CoOp", "TRAINER.COOP.CLASS_TOKEN_POSITION", "middle"))
    start = "MODEL.INIT_WEIGHTS", str(tmp_path / "a")
    with pytest.raises(UserError, match="CLASS_TOKEN_POSITION middle, and it is now end"):
        train.main(runs.argv(tiny_bank, tmp_path / "b", "CoOp", *start))


def test_a_changed_config_file_is_noticed(adapter, tmp_path):
    shutil.copytree(adapter[0], tmp_path / "run")
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text().replace("RATIO: 0.8", "RATIO: 0.3"))
    with pytest.raises(UserError, match="RATIO 0.8, and it is now 0.3"):
        trainers.open_run(str(tmp_path / "run"))


# ---- content decides whether images are the same


def picture(path, colour, stamp=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)
    os.utime(path, (stamp, stamp))
    return str(path)


def test_files_of_equal_size_and_time_have_other_hashes(tmp_path):
    one, other, none = picture(tmp_path / "1.bmp", "red"), picture(tmp_path / "2.bmp", "blue"), str(tmp_path / "none")
    first = content_hashes([one, other, none], tmp_path / "cache")
    assert first[0] != first[1] and first[2] == "" and os.path.getsize(one) == os.path.getsize(other)
    assert content_hashes([other, one], tmp_path / "cache") == first[1::-1]
    picture(tmp_path / "1.bmp", "green")  # replaced, with the same size and time
    assert content_hashes([one], tmp_path / "cache")[0] not in first


def test_other_pixels_are_another_run_and_other_features(tmp_path):
    """Two folders with equal relative paths, sizes and times, and other pixels (also: archives that set all times to
    1970) do not share features, and one is not the other's run."""
    found = []
    for name, colours in (("one", ("red", "blue")), ("other", ("blue", "red"))):
        for label, colour in zip(("ant", "bee", "cow", "dog"), colours * 2):
            for i in range(10):
                picture(tmp_path / name / "animals" / label / f"{i}.bmp", colour)
        words = own_words(tmp_path / name, tmp_path / name / "out", "FEATURES.DIR", str(tmp_path / "cache"))
        trainer = runs.open_data(words)
        found.append((trainer.train_set.first(), train.run.identity_of(trainer)))
    (one, identity), (other, its) = found
    assert not torch.equal(one, other)
    assert all(identity[key] != its[key] for key in ("content", "test_content"))


# ---- options without effect


@pytest.mark.parametrize(
    "base, name, words",
    [
        (Plugin, "penaltyy", "penaltyy is no hook of Plugin; penalty is"),
        (FeatureTrainer, "compute_los", "compute_los is no hook of FeatureTrainer; compute_loss is"),
        (FeatureTrainer, "forward_backward", "forward_backward would never be called.*override .* instead"),
    ],
)
def test_a_hook_that_cannot_act_is_refused(base, name, words):
    with pytest.raises(UserError, match=words):
        type("Mine", (base,), {name: lambda self: None})


def test_fewer_views_than_a_bank_has_are_used(tiny_bank, tmp_path):
    one, all_views = (runs.open_data(runs.argv(tiny_bank, tmp_path / n, "CoOp", "FEATURES.VIEWS", n)) for n in "14")
    assert int(one.train_set.views.max()) == 1 < int(all_views.train_set.views.max())
    assert torch.equal(one.train_set.first(), all_views.train_set.first())


# ---- values that look like something else; those out of their range are in test_train.py


@pytest.mark.parametrize("text", ["20240101", "1e3", "None", "[1]x"])
def test_paths_and_texts_are_text(text):
    words = ["--trainer", "CoOp", "--dataset-config-file", str(runs.ROOT / "configs/datasets/eurosat.yaml")]
    words += ["--output-dir", text, "--root", text, "DATASET.TEMPLATE", f"{text} {{}}", "TRAINER.COOP.CTX_INIT", text]
    cfg = train.setup_cfg(train.parse_args(words))
    found = cfg.OUTPUT_DIR, cfg.DATASET.ROOT, cfg.DATASET.TEMPLATE, cfg.TRAINER.COOP.CTX_INIT
    assert found == (text, text, f"{text} {{}}", text)


@pytest.mark.parametrize("written", ["no", "1e3", "2024-01-01", "0x10"])
def test_a_text_in_yaml_stays_text(written, tmp_path):
    (tmp_path / "mine.yaml").write_text(f"TRAINER:\n  COOP:\n    CTX_INIT: {written}\nOPTIM:\n  LR: 1e-3\n")
    cfg = train.with_defaults()
    cfg.merge_from_file(str(tmp_path / "mine.yaml"))
    assert (cfg.TRAINER.COOP.CTX_INIT, cfg.OPTIM.LR) == (written, 0.001)


# ---- one place, two writers


def test_a_second_run_waits_until_the_first_has_ended(tiny_bank, tmp_path):
    out = tmp_path / "run"
    with alone_in(str(out)):
        second = threading.Thread(target=train.main, args=(runs.argv(tiny_bank, out, "CLIP_Adapter"),))
        second.start()
        second.join(2)
        assert second.is_alive() and not (out / "config.yaml").exists()
    second.join(60)
    assert runs.results(out)["metrics"]


def test_another_evaluation_is_set_aside(adapter, tiny_bank, tmp_path, capsys):
    model, own = adapter
    first = runs.evaluate(model, tiny_bank, tmp_path, "CLIP_Adapter", *own)
    runs.evaluate(model, tiny_bank, tmp_path, "CLIP_Adapter", *own)
    assert not (tmp_path / "results-base.json.replaced-1").exists()
    runs.evaluate(model, tiny_bank, tmp_path, "CLIP_Adapter", *own, "DATASET.NUM_SHOTS", "2")
    assert "results-base.json held other results" in capsys.readouterr().out
    assert runs.results(tmp_path, "results-base.json.replaced-1")["metrics"] == first["metrics"]


# ---- trainers


def test_a_broken_file_in_trainers_stops_no_other(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("def broken(:\n")
    monkeypatch.setattr(trainers, "__path__", [*trainers.__path__, str(tmp_path)])
    cfg = get_cfg_default()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainers.extend_cfg(cfg)
    assert "COOP" in cfg.TRAINER and any("broken.py is left out: SyntaxError" in str(one.message) for one in caught)


# ---- before anything is trained


def own_words(root, out, *options):
    words = ["--root", root / "animals", "--trainer", "CLIP_Adapter", "--backbone", "MiniCLIP"]
    words += ["--seed", 1, "--output-dir", out]
    words += ["--dataset-config-file", runs.ROOT / "configs/datasets/imagefolder.yaml", "FEATURES.DIR", root / "cache"]
    words += "DATASET.NUM_SHOTS 2 OPTIM.MAX_EPOCH 2 DATALOADER.NUM_WORKERS 0 FEATURES.VIEWS 1 VERBOSE False".split()
    return [str(word) for word in [*words, *options]]


def test_what_an_error_advises_goes_on_from_there(tmp_path, capsys):
    """A test image of no bytes is found before anything is trained; both ways out work."""
    for name in ("ant", "bee", "cow", "dog"):
        add_images(tmp_path / "animals" / name, [f"{name}_{i}.png" for i in range(10)])
    words = own_words(tmp_path, tmp_path / "out", "TASK", "base2new")
    runs.open_data(words)  # makes the split
    listed = json.loads(next((tmp_path / "cache/splits").glob("*.json")).read_text())
    broken = next((tmp_path / "animals" / path for path, label, _ in listed["test"] if label == 3))
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    with pytest.raises(UserError, match="Replace them, or set DATASET.SKIP_BAD_IMAGES True"):
        train.main(words)
    assert not list((tmp_path / "out").glob("*/*.pth.tar*"))
    train.main([*words, "DATASET.SKIP_BAD_IMAGES", "True"])
    assert runs.results(tmp_path / "out")["skipped_images"] == 1
    broken.write_bytes(whole)
    train.main(own_words(tmp_path, tmp_path / "other", "TASK", "base2new"))
    assert runs.results(tmp_path / "other")["skipped_images"] == 0


def test_a_run_knows_the_names_that_its_head_was_built_over(tiny_bank, tmp_path):
    """Names from a file take the place of the task's, for every plug-in."""
    (tmp_path / "names.txt").write_text("\ufeff# mine\nlobster\n\nstarfish\n")
    words = "TRAINER.SHIP.NEW_CLASSES", str(tmp_path / "names.txt")
    train.main(runs.argv(tiny_bank, tmp_path / "run", "CLIP_Adapter_SHIP_GATE", *words))
    trainer = trainers.open_run(str(tmp_path / "run"))
    (gate,) = [plugin for plugin in trainer.plugins if plugin.NAME == "GATE"]
    assert gate.known_names()[-2:] == trainer.trained_classnames[-2:] == ["lobster", "starfish"]


def test_one_image_per_class_is_defined(tiny_bank, tmp_path):
    train.main(runs.argv(tiny_bank, tmp_path, "PVA", "DATASET.NUM_SHOTS", "1"))
    assert runs.results(tmp_path)["metrics"]["base"] > 0


def test_a_flag_behind_the_options_says_where_it_stands():
    with pytest.raises(UserError, match="put --seed in front of TASK"):
        train.parse_args("--trainer CoOp TASK base2new OPTIM.WARMUP_EPOCH -1e0 --seed 1".split())
