"""The Python API: fit, load, Model; names added and removed; files for other programs; nothing left behind."""

import gc
import json
import logging
import os
import random
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import UserError
from helpers.api import ADAPTER, NAMES, NEW, QUICK, pictures
from PIL import Image
from runs import argv, results
from safetensors import safe_open

import trainers as ship
from trainers.core.answers import Scores

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder per class, three images in each."""
    top = tmp_path_factory.mktemp("images")
    for i, pixels in enumerate(pictures(9)):
        place = top / ["ant", "beaver", "grand_piano"][i // 3]
        place.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i}.png")
    return top


def process_state(where):
    """What a call must leave as it was. Files of the interpreter itself (modules, /dev) come and go."""
    gc.collect()
    links = [os.readlink(link) for fd in os.listdir("/proc/self/fd") if os.path.lexists(link := f"/proc/self/fd/{fd}")]
    return {
        "stdout": (sys.stdout, sys.stderr),
        "random": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),
        "folder": (os.getcwd(), sorted(os.walk(where))),
        "registries": (TRAINER_REGISTRY.registered_names(), DATASET_REGISTRY.registered_names()),
        "loggers": (logging.root.handlers[:], logging.root.level, sorted(logging.root.manager.loggerDict)),
        "files": sorted(link for link in links if link.startswith(("/tmp", str(where)))),
        "torch": (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()),
        "else": (sys.path[:], dict(os.environ), threading.active_count(), warnings.filters[:]),
    }


@pytest.fixture
def here(tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    return Path.cwd()


def test_a_fit_leaves_nothing_behind_and_a_second_one_is_the_same(folder, here, tmp_path, capsys):
    ship.fit(folder, method="CLIP_Adapter", options=QUICK)  # imports what is imported late
    torch.manual_seed(5)
    before = process_state(here)
    capsys.readouterr()
    models = [ship.fit(folder, new_names=NEW, **ADAPTER) for _ in range(2)]
    models[0].save(tmp_path / "kept")
    models.append(ship.load(tmp_path / "kept"))
    answers = [model.probabilities(folder) for model in models]
    assert capsys.readouterr() == ("", "")
    after = process_state(here)
    assert all(before[name] == after[name] for name in before), [n for n in before if before[n] != after[n]]
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
    assert models[2].classnames == (*models[2].base_names, *NEW) == ("ant", "beaver", "grand_piano", *NEW)


def test_the_default_names_photos_of_classes_without_images_and_writes_a_run_that_load_opens(here):
    animals = ROOT / "datasets/animals"
    given = {"new_names": ["lobster", "starfish"], "out": "run", "seed": 2}
    model = ship.fit(animals / "images", **given)
    names = {"a": "lobster", "b": "starfish"}
    photos = model.predict(animals / "photos")
    assert sum(found.name == names[found.path[-6]] for found in photos) >= 9  # a1.jpg ... b5.jpg
    found = results(here / "run")
    assert (found["trainer"], found["seed"], found["metrics"]) == ("Ensemble_GATE", 2, {})
    assert found["classes"]["base"] == ["ant", "crab", "dolphin", "elephant", "flamingo", "kangaroo"]
    assert found["scores"]["values"]["all_H"] > 70 and "CLIP_Adapter" in (here / "run/log.txt").read_text()
    for other in (ship.fit(animals / "images", **given), ship.load("run")):
        assert other.predict(animals / "photos") == photos and other.scores == model.scores
    with pytest.raises(UserError, match="another run"):
        ship.fit(animals / "images", **{**given, "new_names": ["lobster"]})


def test_load_opens_a_run_of_the_command_line(tiny_bank, tmp_path, rows):
    import train

    train.main(argv(tiny_bank, tmp_path / "run", "CoOp_SHIP"))
    model = ship.load(tmp_path / "run")
    assert model.classnames[:2] == ("dog", "cat") and len(model.classnames) == 7
    assert not model.scores and "results.json" in model.scores.reason
    more = model.add_classes(["otter"])
    assert np.array_equal(more.logits(rows[0])[:, :7], model.logits(rows[0]))


def test_fits_from_two_threads_wait_for_each_other(folder):
    def one(seed):
        return ship.fit(folder, new_names=NEW, seed=seed, **ADAPTER).probabilities(folder)

    with ThreadPoolExecutor(3) as pool:
        first, other, again = pool.map(one, (1, 2, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_all_forms_of_images_and_names_are_the_same_fit(folder, tmp_path):
    paths = sorted(folder.glob("*/*.png"))
    labels = [path.parent.name for path in paths]
    (tmp_path / "names.txt").write_text("\n".join(NEW))
    opened = [Image.open(path).convert("RGB") for path in paths]
    arrays = [np.asarray(image) for image in opened]
    model = ship.fit(folder, new_names=NEW, **ADAPTER)
    features = model.features(folder)
    assert features.shape == (9, 256) and np.abs(np.linalg.norm(features, axis=1) - 1).max() < 1e-3
    expected = model.probabilities(features)
    for images, names in ((paths, tmp_path / "names.txt"), (opened, tuple(NEW)), (arrays, NEW)):
        assert np.array_equal(model.probabilities(images), expected)
        assert np.array_equal(ship.fit(images, labels, new_names=names, **ADAPTER).probabilities(folder), expected)
    found = model.predict(paths[:2], top=2)
    assert [p.path for p in found] == [str(path) for path in paths[:2]] and len(found[0].names) == 2
    assert str(paths[0]) in str(found) and f"{found[0].probabilities[0]:.1%}" in str(found)
    assert model.predict(opened[0], at_least=1.01)[0].name == "none of these"
    evaluation = model.evaluate(folder)
    assert evaluation.confusion.sum() == 9 and evaluation.confusion.shape == (5, 5)
    assert evaluation.accuracy == pytest.approx(np.trace(evaluation.confusion) / 9 * 100)
    assert model.evaluate(paths, labels).per_class == evaluation.per_class
    evaluation.picture(tmp_path / "figure.png")
    assert "matplotlib.pyplot" not in sys.modules or (tmp_path / "figure.png").stat().st_size > 1000


def test_scores_come_from_folds_and_zero_shot_stands_beside(fitted, rows):
    scores = fitted("GaussianLDA").scores
    assert set(scores) == {"base", "new", "H", "all", "all_H"} and scores.folds == 8
    assert all(0 <= value <= 100 for value in scores.values())
    assert all(scores.zero_shot[name] > 50 for name in scores)  # the features lie around the texts
    assert Scores(**json.loads(json.dumps(scores.record()))) == scores
    assert fitted("CoOp").scores.folds == 3
    seen, named = scores.with_images, scores.by_name  # of each of 8 folds: half of the classes, 2 images of each
    assert seen.classnames == tuple(sorted(NAMES)) and len(seen.labels) == len(named.labels) == 8 * 4 * 2
    right = [sum(found.labels == found.predicted) for found in (seen, named)]
    assert sum(right) / 128 * 100 == pytest.approx(scores["all"])
    labels = [rows[1][int(path.removeprefix("image "))] for path in named.paths]
    assert labels == [named.classnames[i] for i in named.labels]
    model = ship.fit(pictures(2), ["a cat", "b/c"], new_names=["dog"], options=QUICK)  # one image per class is enough
    assert model.classnames == ("a cat", "b/c", "dog") and not model.scores
    assert "4 base classes with two training images or more, and there are 0" in str(model.scores)


def test_images_that_cannot_be_read(folder, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    paths = [*sorted(folder.glob("*/*.png")), tmp_path / "broken.png"]
    names = [*(path.parent.name for path in paths[:-1]), "ant"]
    with pytest.raises(UserError, match="broken.png.*skip_bad_images"):
        ship.fit(paths, names, **ADAPTER)
    with pytest.warns(UserWarning, match="left out: .*broken.png"):
        skipped = ship.fit(paths, names, skip_bad_images=True, **ADAPTER)
    assert np.array_equal(skipped.probabilities(folder), ship.fit(folder, **ADAPTER).probabilities(folder))
    plain, marked = skipped.predict(paths[:2]), skipped.predict([paths[0], tmp_path / "broken.png", paths[1]])
    assert [marked[0].names, marked[2].names] == [found.names for found in plain]
    assert marked[1].name == "(unreadable)" and marked[1].path.endswith("broken.png") and "(unreadable)" in str(marked)
    for ask, images in ((skipped.predict, paths[-1:]), (skipped.probabilities, paths)):  # no row could stand for it
        with pytest.raises(UserError, match="cannot be read.*broken.png"):
            ask(images)


def test_what_cannot_be_used_is_said(rows, tmp_path):
    features, labels = rows
    with pytest.warns(UserWarning, match="very different sizes.*ant 7, beaver 1"):
        ship.fit(features[:8], ["ant"] * 7 + ["beaver"], method="CLIP_Adapter", options=QUICK)
    for arguments, message in (
        ((features, labels[:-1]), "32 images and 31 labels"),
        ((features[:, :9], labels), r"\[N, 256\]"),
        ((features,), "without labels"),
        (([features[0]],), "without labels"),
        ((np.zeros((4, 4), np.uint8), ["a"]), "uint8"),
        ((Image.new("I;16", (9, 9)), ["a"]), "I;16"),
        ((features[:4], ["a"] * 4), "one class only"),
        ((features[:2], ["a b", "A_b"]), "repeats"),
        ((tmp_path / "nowhere", ["a"]), "nowhere"),
    ):
        with pytest.raises(UserError, match=message):
            ship.fit(*arguments)
    for options, message in (
        ({"method": "CoOp_GATE_SHIP"}, "type CoOp_SHIP_GATE"),
        ({"method": "CoOpp"}, "CoOp"),
        ({"new_names": ["Ant"]}, "repeats"),
        ({"options": {"OPTIM.MAX_EPOCHS": 3}}, "OPTIM.MAX_EPOCH"),
        ({"device": "tpu"}, "cpu"),
    ):
        with pytest.raises(UserError, match=message):
            ship.fit(features, labels, **options)
    with pytest.raises(UserError, match="wolf.*add_classes"):
        ship.fit(features, labels, method="ZeroshotCLIP").evaluate(features[:1], ["wolf"])


# ---- names that come and go

STAYING = ("ZeroshotCLIP", "CLIP_Adapter_SHIP", "CoOp_SHIP", "Prototype", "GaussianLDA", "Tip_Adapter_F_SHIP")
OPTIONS = {"TRAINER.TIP_ADAPTER.SEARCH": False}


@pytest.mark.parametrize("method", STAYING)
def test_names_that_are_added_leave_the_other_logits_to_the_bit(method, fitted, rows, tmp_path):
    """Nine old names; one image and many; one thread and two; added twice; saved and loaded; some removed again."""
    model = fitted(method, 3, [*NAMES[3:7], *NEW], **OPTIONS)
    images, threads = rows[0], torch.get_num_threads()
    once = model.add_classes(["otter"])
    twice = once.add_classes(["penguin", "zebra"])
    fewer = twice.remove_classes(["beaver", "otter"])
    assert twice.classnames == (*model.classnames, "otter", "penguin", "zebra")
    assert fewer.base_names == tuple(name for name in model.base_names if name != "beaver")
    kept = []
    for name, changed in (("twice", twice), ("fewer", fewer)):
        changed.save(tmp_path / name)
        kept.append(ship.load(tmp_path / name))
        assert kept[-1].classnames == changed.classnames
    stay = [twice.classnames.index(name) for name in fewer.classnames]
    for number, batch in ((1, images[:1]), (1, images), (2, images[:1]), (2, images)):
        torch.set_num_threads(number)
        logits = [other.logits(batch) for other in (model, once, twice, fewer, *kept)]
        torch.set_num_threads(threads)
        assert np.array_equal(logits[2][:, :9], logits[0]) and np.array_equal(logits[2][:, :10], logits[1])
        assert np.array_equal(logits[2][:, stay], logits[3])
        assert np.array_equal(logits[2], logits[4]) and np.array_equal(logits[3], logits[5])
    named = model.add_classes(["hedgehog"])  # as the last four images are, of which the model had never heard
    assert (named.logits(images[-4:]).argmax(1) == 9).all()


def test_promises_are_less_where_logits_depend_on_all_names(fitted, rows):
    images = rows[0]
    gated = fitted("GaussianLDA_GATE")
    more = gated.add_classes(["otter"])
    assert np.array_equal(more.logits(images)[:, :8], gated.logits(images)[:, :8])  # base names
    models = [fitted(method, 3, **{"TRAINER.VPT.TEST_SAMPLES": 2}) for method in ("CoOp_VPT", "PVA")]
    (vpt, more_vpt), (pva, more_pva) = ((model, model.add_classes(["otter"])) for model in models)
    assert more_vpt.classnames == (*vpt.classnames, "otter") == more_pva.classnames
    for model in (vpt, more_vpt):
        assert np.allclose(np.exp(model.logits(images)).sum(1), 1, atol=1e-5)
    order = more_vpt.logits(images)[:, :5].argsort(1)
    assert np.array_equal(order, vpt.logits(images).argsort(1))
    assert np.array_equal(more_pva.logits(images).argmax(1) < 3, pva.logits(images).argmax(1) < 3)


def test_what_cannot_have_further_names_says_why(fitted):
    for method, reason in (("CoOp", "class-specific contexts"), ("Tip_Adapter", "no key for classes")):
        model = fitted(method, 3, [], **{"TRAINER.COOP.CSC": True, "TRAINER.COOP.CTX_INIT": "", **OPTIONS})
        with pytest.raises(UserError, match=reason):
            model.add_classes(["otter"])
    with pytest.raises(UserError, match="repeats"):
        model.add_classes(["Ant"])
    with pytest.raises(UserError, match="otter"):
        model.remove_classes(["otter"])


def test_class_weights_are_the_logits_also_in_a_file(fitted, rows, tmp_path):
    for model in (fitted("GaussianLDA").add_classes(["otter"]), fitted("CoOp").remove_classes(["ant"])):
        weight, bias, scale = model.class_weights()
        assert np.abs(scale * (rows[0] @ weight.T + bias) - model.logits(rows[0])).max() < 1e-4
        model.export(tmp_path / "model.safetensors")
        with safe_open(tmp_path / "model.safetensors", "np") as file:
            assert json.loads(file.metadata()["classnames"]) == list(model.classnames)
            for name, value in (("weight", weight), ("bias", bias), ("scale", scale)):
                assert np.array_equal(file.get_tensor(name), np.reshape(value, -1) if name == "scale" else value)
    with pytest.warns(UserWarning, match="no linear function"):
        assert fitted("CLIP_Adapter_SHIP").class_weights() is None


# ---- files for other programs


@pytest.mark.parametrize("method", ["GaussianLDA_GATE", "CoOp"])
def test_onnx_holds_the_whole_classifier(method, fitted, tmp_path, capfd):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model, path = fitted(method, 3).add_classes(["otter"]), tmp_path / "model.onnx"
    images = [Image.fromarray(pixels).resize((224, 224)) for pixels in pictures(2)]
    model.export(path)
    assert capfd.readouterr().out == ""
    crops = np.stack([np.asarray(image) for image in images])
    logits, probabilities, features = runtime.InferenceSession(path).run(None, {"crops": crops})
    assert np.abs(features - model.features(images)).max() < 1e-3  # ours are kept in half precision
    assert np.abs(logits - model.logits(images)).max() < 2e-2
    assert np.abs(probabilities - model.probabilities(images)).max() < 1e-2
    about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(about["classnames"]) == list(model.classnames) and "224" in about["crop"]
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_what_cannot_be_exported_says_why(fitted, tmp_path):
    pytest.importorskip("onnxruntime")
    conditional = {"TRAINER.VPT.CONDITIONAL": True, "TRAINER.VPT.TEST_SAMPLES": 1}
    images, prompts = fitted("CoCoOp", 2), fitted("CoOp_VPT", 2, **conditional)
    for model, suffix, reason in (
        (images, "onnx", "prompts of its own"),
        (prompts, "onnx", "prompts of its own"),
        (images, "safetensors", "no linear function.*onnx"),
        (images, "bin", "must be onnx or safetensors"),
    ):
        with pytest.raises(UserError, match=reason):
            model.export(tmp_path / f"model.{suffix}")
    assert not [*tmp_path.iterdir()]
