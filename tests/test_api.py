"""The Python API: fit, load, Model; names added and removed; nothing left behind in the process."""

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
