"""Prototype and GaussianLDA: their formulas by hand, and runs of the real command line."""

import pytest
import torch
import torch.nn.functional as F
from dassl.utils import UserError
from plain import hand_written, unit
from runs import argv, newest_state, results
from tiny_data import NAMES, make_bank, poison

import train
from trainers import explain, open_run
from trainers.core.gaussian import gaussian_state, means_of, shrunk_covariance
from trainers.prototypes import GaussianHead, PrototypeHead

TARGET = ["forest", "dog", "river"]
METHODS = ["Prototype", "GaussianLDA"]


@pytest.fixture(scope="module")
def bank(tmp_path_factory, miniclip_backbone):
    path = tmp_path_factory.mktemp("prototypes") / "noisy.safetensors"
    return make_bank(path, miniclip_backbone, noise=6.0, train=9)


def few_features():
    return unit(12, 256, seed=1), torch.arange(12) % 3


def test_the_shrunk_precision_by_hand():
    """d ((N - 1) S + tr(S) I)^-1 with N = 4, d = 2, S = diag(2/3, 8/3)."""
    residuals = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    expected = torch.diag(torch.tensor([2 / (2 + 10 / 3), 2 / (8 + 10 / 3)], dtype=torch.float64))
    found = gaussian_state(residuals, torch.zeros(4, dtype=torch.long), 1)["precision"]  # of a class around 0
    assert torch.allclose(found, expected.float())
    drawn = torch.diag(torch.tensor([(2 + 10 / 3) / 5, (8 + 10 / 3) / 5], dtype=torch.float64))
    assert torch.allclose(shrunk_covariance(residuals), drawn) and drawn.trace() == pytest.approx(10 / 3)


def test_prototypes_of_both_kinds_by_hand(miniclip_backbone):
    features, labels = few_features()
    texts, means = hand_written(miniclip_backbone, NAMES), means_of(features, labels, 3)
    offset = means.mean(0) - texts[:3].mean(0)
    head = PrototypeHead(miniclip_backbone, ["a photo of a {}."], NAMES[:3], {"means": means, "offset": offset})
    rows = {NAMES[i]: F.normalize(means[i], dim=0) for i in range(3)}
    rows |= {NAMES[i]: F.normalize(texts[i] + means.mean(0) - texts[:3].mean(0), dim=0) for i in range(3, 7)}
    x = features[:5]
    for names in (NAMES, NAMES[3:], NAMES[:3], NAMES[::-1]):
        expected = miniclip_backbone.logit_scale.exp() * x @ torch.stack([rows[name] for name in names]).t()
        assert torch.allclose(head.for_classes(names)(x), expected, atol=1e-5)
        assert torch.allclose(head.for_classes(NAMES).for_classes(names)(x), expected, atol=1e-5)


def test_gaussian_logits_by_hand(miniclip_backbone):
    """Each class by itself: the new one's mean from its nearest features, then 100 x t0 + ALPHA (...) times s / 100."""
    features, labels = few_features()
    texts, means = hand_written(miniclip_backbone, NAMES), means_of(features, labels, 3)
    state = {**gaussian_state(features, labels, 3), "blend": torch.tensor([0.5, 5, 2])}
    precision = state["precision"]
    head = GaussianHead(miniclip_backbone, ["a photo of a {}."], NAMES[:3], state).for_classes(["pizza", "cat", "dog"])
    x = features[7]
    for column, name in enumerate(["pizza", "cat", "dog"]):
        text = texts[NAMES.index(name)]
        mean = means[NAMES.index(name)] if name in NAMES[:3] else None
        if mean is None:
            nearest = sorted(features, key=lambda feature: -float(feature @ text))[:5]
            mean = (sum(nearest) + 2 * text) / 7
        gaussian = x @ precision @ mean - mean @ precision @ mean / 2
        expected = (100 * x @ text + 0.5 * gaussian) * miniclip_backbone.logit_scale.exp() / 100
        assert head(x[None])[0, column].item() == pytest.approx(expected.item(), rel=1e-4)


def test_equal_names_are_told_apart_by_position(miniclip_backbone):
    """A base class that is there twice has its own mean each; a third one of that name is a new class."""
    features, labels = few_features()
    state = {"means": means_of(features, labels, 3), "offset": torch.zeros(256)}
    head = PrototypeHead(miniclip_backbone, ["a photo of a {}."], ["cat", "cat", "dog"], state)
    means = head.for_classes(["dog", "cat", "cat", "cat"]).means
    assert torch.equal(means[:3], head.means[[2, 0, 1]])
    torch.testing.assert_close(means[3], hand_written(miniclip_backbone, ["cat"])[0])


def test_a_finished_run_answers_for_any_names_and_a_transfer_takes_its_images_along(bank, miniclip_backbone, tmp_path):
    """For names that it never heard of, in any order, without data. In a target with one class of the source this has
    the source's mean."""
    target = make_bank(tmp_path / "whole.safetensors", miniclip_backbone, names=TARGET, dataset="EuroSAT", noise=6.0)
    target = poison(target, tmp_path / "target.safetensors", lambda part, label: part != "test")
    for method in METHODS:
        source, out = tmp_path / method / "source", tmp_path / method / "out"
        train.main(argv(bank, source, method, task="fewshot"))
        start = ["MODEL.INIT_WEIGHTS", source]
        train.main(argv(target, out, method, *start, task="cross_dataset", dataset="eurosat"))
        assert set(results(out)["metrics"]) == {"accuracy"} and results(out)["selection"].startswith("source run")
        before, after = newest_state(source), newest_state(out)
        assert torch.equal(after["means"][1], before["means"][0]) and after["means"].shape[0] == len(TARGET)
        trainer, x = open_run(str(out)), unit(5, 256)
        assert trainer.trained_classnames == TARGET
        turned = trainer.logits(trainer.head_for(["zebra", *TARGET[::-1]]), x)
        expected = trainer.logits(trainer.head_for(TARGET), x)
        assert torch.allclose(turned[:, 1:].flip(1), expected, atol=1e-4) and torch.isfinite(turned).all()


def test_what_it_cannot_do_is_said(bank, tmp_path):
    with pytest.raises(UserError, match="every class has one image.*NUM_SHOTS 2 or more"):
        train.main(argv(bank, tmp_path / "one", "GaussianLDA", "DATASET.NUM_SHOTS", "1"))
    with pytest.raises(UserError, match="Prototype is made of training images: give DATASET.NUM_SHOTS 1"):
        train.main(argv(bank, tmp_path / "none", "Prototype", "DATASET.NUM_SHOTS", "0"))
    assert "SAR: it learns no prompts" in explain("Prototype_SAR")


@pytest.mark.parametrize(
    "method, expected",
    [
        ("Prototype", {"base": 84.51, "new": 58.30, "all": 69.21, "all_H": 57.85}),
        ("GaussianLDA", {"base": 85.41, "new": 59.06, "all": 69.21, "all_H": 64.07}),
    ],
)
def test_the_bar_on_caltech101(tmp_path, method, expected):
    """Seed 1 of the three of docs/results.md; loose enough for another machine's rounding."""
    arguments = argv("", tmp_path, method, "DATASET.NUM_SHOTS", "16")
    at = arguments.index("FEATURES.BANK")
    train.main(arguments[:at] + arguments[at + 2 :])
    found = results(tmp_path)["metrics"]
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=0.15)
