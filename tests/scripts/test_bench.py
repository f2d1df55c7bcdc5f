"""scripts/bench.py: both formulations compute the same, and every benchmark fills its table."""

import json
import subprocess

import bench
import pytest
import torch
from lib.bench import plain, steps, whole
from tiny_clip import tiny_clip

from trainers.core.model.prompts import ClassTokens


@pytest.fixture(scope="module")
def tiny():
    return tiny_clip()


def test_both_formulations_compute_the_same(tiny):
    torch.manual_seed(0)
    names, ctx = bench.class_names(5), 0.02 * torch.randn(3, tiny.width)
    ours, theirs = (kind.head(tiny, names, ctx).text_features() for kind in (steps.OURS, steps.PLAIN))
    assert torch.allclose(ours, theirs, atol=1e-5)
    classes, z, labels = ClassTokens(names, tiny), torch.randn(4, 6), torch.tensor([3, 0, 0, 4])
    ours, theirs = (kind.generator(tiny, 3, 6, 8) for kind in (steps.OURS, steps.PLAIN))
    theirs.load_state_dict(ours.state_dict())
    assert torch.allclose(ours(z, labels, classes), theirs(z, labels, classes), atol=1e-5)


def test_class_names_are_as_many_as_asked():
    assert [len(bench.class_names(count)) for count in (10, 300, 1000, 1500)] == [10, 300, 1000, 1500]
    assert len(set(bench.class_names(100))) == 100


def test_the_steps_run_and_their_costs_are_scaled(tiny, monkeypatch, tmp_path, capsys):
    def seconds(_, *calls):
        for call in calls:
            call()
        return [8.0, 24.0][: len(calls)]  # ours and plain; or images alone

    monkeypatch.setattr(bench, "TOWERS", {"tiny": lambda: tiny})
    monkeypatch.setattr(steps, "HIDDEN", 16)
    monkeypatch.setattr(plain, "NAMES", 4)
    monkeypatch.setattr(bench, "seconds", seconds)
    chart = tmp_path / "cost.png"
    words = f"text_encoder step --towers tiny --classes 4 6 --context 2 --chart {chart} --markdown --cpu-time"
    bench.main(words.split())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny")]
    cells = [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines]
    assert cells == [
        ["4", "2", "24", "8", "3"],  # names, context, plain, ours, ratio
        ["6", "2", "36", "8", "4.5"],
        ["4", "2", "24", "8", "3", "8", "4"],  # generator; images, ratio with them
        ["6", "2", "24", "8", "3", "8", "4"],
        ["4", "2", "24", "8", "3", "8", "4"],  # CoOp
        ["6", "2", "36", "8", "4.5", "8", "5.5"],
        ["4", "2", "24", "0.5", "48", "8", "64"],  # CoOp + SHIP, 16 steps at once
        ["6", "2", "36", "0.5", "72", "8", "88"],
    ]
    assert chart.stat().st_size > 5000


def test_steps_take_turns_and_their_median_counts():
    order = []
    arguments = bench.parse_arguments("step --cpu-time --repeats 2".split())
    calls = [lambda: (order.append("a"), sum(range(100_000))), lambda: (order.append("b"), sum(range(1_000_000)))]
    few, many = bench.seconds(arguments, *calls)
    assert many > 3 * few
    assert [letter for letter, before in zip(order, ["", *order], strict=False) if letter != before] == ["a", "b"] * 2


def test_whole_runs_are_compared_at_equal_epochs(monkeypatch):
    def finished(command, **_):
        assert command[command.index("OPTIM.MAX_EPOCH") + 1] == command[command.index("TRAINER.SHIP.EPOCHS") + 1] == "7"
        seconds = {"finetune": 2.0, "evaluate": 0.5}
        if "CoOp_SHIP" in command:
            seconds = {"finetune": 5.0, "generator": 4.0, "evaluate": 1.0}
        out = whole.Path(command[command.index("--output-dir") + 1])
        (out / "results.json").write_text(json.dumps({"seconds": seconds, "metrics": {"H": 50.0}}))

    monkeypatch.setattr(subprocess, "run", finished)
    coop, ship = whole.runs(7)
    assert coop["sum, s"] == 2.5 and ship["times CoOp's"] == 4.0
