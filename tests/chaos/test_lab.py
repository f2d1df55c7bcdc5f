"""The lab itself: it sees what it looks for."""

import random

import pytest
import torch
from chaos.lab import Done, difference
from chaos.test_damage import damaged


@pytest.mark.parametrize(
    "done, fault",
    [
        (Done(0, "fine", False, 0), ""),
        (Done(2, "error: no such file", False, 0), ""),
        (Done(2, "", False, 0), "without a sentence"),
        (Done(1, "Traceback (most recent call last):\nZeroDivisionError", False, 0), "ZeroDivisionError"),
        (Done(-9, "error: fine", False, 0), "exit code -9"),
        (Done(-9, "", True, 0), "did not end"),
        (Done(0, "fine", False, 1), "1 processes left behind"),
    ],
)
def test_faults_are_seen(done, fault):
    assert fault in done.fault and bool(done.fault) == bool(fault)


def test_other_results_are_seen(tmp_path):
    for name, value, metric in (("whole", 1.0, 50), ("same", 1.0, 50), ("tensor", 2.0, 50), ("metric", 1.0, 51)):
        (tmp_path / name / "head").mkdir(parents=True)
        torch.save({"state_dict": {"w": torch.tensor(value)}}, tmp_path / name / "head" / "model.pth.tar-1")
        (tmp_path / name / "results.json").write_text(f'{{"metrics": {{"base": {metric}}}}}')
    found = {name: difference(tmp_path / "whole", tmp_path / name) for name in ("same", "tensor", "metric")}
    assert found["same"] == "" and "other tensors" in found["tensor"] and "51" in found["metric"]
    (tmp_path / "same/head/model.pth.tar-1").unlink()
    assert "is missing" in difference(tmp_path / "whole", tmp_path / "same")


def test_damage_changes_the_file():
    good = bytes(range(1, 256)) * 4
    assert all(damaged(good, random.Random(seed)) != good for seed in range(200))
