"""AUSUC, OpenworldAUC, AUROC, calibration and the temperature: golden values, brute force, and whole runs."""

import math

import numpy as np
import pytest
import torch
from runs import argv, log, results

import train
from trainers import open_run
from trainers.core import metrics

LOGITS = [(3, 1, 2, 0), (1.9, 2, 2.5, -5), (0.5, 1.5, 1, 3), (2, -5, 1.5, 1.45), (1, 0.5, 0, 2), (0, 3, 2.5, 1)]
LABELS = [0, 1, 0, 2, 3, 2]


def drawn(images=60, names=7, seed=0):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(names, (images,), generator=draw)
    logits = torch.randn(images, names, generator=draw).mul(3).round()  # with ties
    logits[torch.arange(images), labels] += 3
    return logits, labels


def test_golden():
    found = metrics.joint_judges(torch.tensor(LOGITS).double(), torch.tensor(LABELS), 2)
    expected = {"ausuc": 4 / 9, "openworld_auc": 5 / 9, "auroc": 5 / 9, "ece_base": 0.50470308, "ece_new": 0.19839851}
    assert {name: value / 100 for name, value in found.items()} == pytest.approx(expected, abs=1e-8)
    logits = torch.tensor(LOGITS)
    margin = logits[:, :2].amax(1) - logits[:, 2:].amax(1)
    assert metrics.auroc(margin[:3], margin[3:]) == pytest.approx(4 / 9)


@pytest.mark.parametrize("seed", range(3))
def test_ausuc_is_the_area_under_the_curve(seed):
    """all_base against all_new while a constant is added to the new logits, by trying every constant; a tie of margins
    is a diagonal step."""
    logits, labels = drawn(seed=seed)
    is_base = labels < 3
    margins = (logits[:, :3].amax(1) - logits[:, 3:].amax(1)).unique()
    points = []
    for gamma in [margins[0] - 1, *((margins[1:] + margins[:-1]) / 2), margins[-1] + 1]:
        right = (logits + gamma * (torch.arange(7) >= 3)).argmax(1) == labels
        points.append([right[is_base].double().mean().item(), right[~is_base].double().mean().item()])
    base, new = np.array(points).T
    area = (new[1:] - new[:-1]) @ (base[1:] + base[:-1]) / 2 + new[0] * base[0]
    assert metrics.joint_judges(logits, labels, 3)["ausuc"] / 100 == pytest.approx(area)


def test_openworld_auc_by_pairs():
    logits, labels = drawn()
    score, is_base = torch.randn(60).mul(2).round(), labels < 3
    right = torch.rand(60) < 0.6
    pairs = [
        right[i] * right[j] * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
        for i in is_base.nonzero().flatten()
        for j in (~is_base).nonzero().flatten()
    ]
    assert metrics.openworld_auc(score, is_base, right) == pytest.approx(float(sum(pairs)) / len(pairs))


def test_the_temperature_that_made_the_labels_is_found():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=draw) * 4
    labels = (logits / 2.5).softmax(1).multinomial(1, generator=draw)[:, 0]
    found = metrics.best_temperature(logits, labels)
    assert math.log(found) == pytest.approx(math.log(2.5), abs=0.05)
    excluded = logits.clone()
    excluded[:5000].scatter_(1, labels[:5000, None], -1e4)  # a step that sent a quarter to the wrong side
    assert math.log(metrics.best_temperature(excluded, labels)) == pytest.approx(math.log(2.5), abs=0.05)


def test_the_temperature_of_a_run_changes_no_decision(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path, "ZeroshotCLIP"))
    found = results(tmp_path)
    assert "few-shot validation of base classes" in log(tmp_path) and found["temperature"] < 1
    trainer = open_run(tmp_path)
    assert trainer.temperature == found["temperature"]
    x = torch.nn.functional.normalize(torch.randn(9, 256), dim=1)
    logits, shown = trainer.logits(trainer.head, x), trainer.probabilities(trainer.head, x)
    assert torch.equal(logits.argmax(1), shown.argmax(1))
    assert torch.allclose(shown, (logits / found["temperature"]).softmax(1))
