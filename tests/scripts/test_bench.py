"""scripts/bench.py: both formulations do the same work, and the tables say what was measured."""

import json

import bench
import pytest
import torch
from lib.bench import measure, steps, tables, whole
from lib.bench.clock import Clock, multiply_adds
from lib.bench.plain import PlainCoOpHead, PlainGenerator
from lib.bench.towers import class_names
from tiny_clip import tiny_clip
from trainers.ship.generator import PromptGenerator

from trainers.coop import CoOpHead
from trainers.core.model.prompts import ClassTokens


@pytest.fixture(scope="module")
def tiny():
    return tiny_clip()


@pytest.fixture
def small(monkeypatch, tiny):
    """The benchmark on the tiny tower, in seconds."""
    monkeypatch.setattr(bench, "TOWERS", {"tiny": lambda: tiny})
    monkeypatch.setattr(steps, "HIDDEN", 16)
    monkeypatch.setattr(steps, "ROWS", 4)
    monkeypatch.setattr(measure, "MATRIX_ROWS", 8)


def test_both_formulations_compute_the_same(tiny):
    torch.manual_seed(0)
    names, ctx = class_names(5), 0.02 * torch.randn(3, tiny.width)
    heads = [kind(tiny, names, ctx) for kind in (CoOpHead, PlainCoOpHead)]
    ours, plain = (head.text_features() for head in heads)
    assert torch.allclose(ours, plain, atol=1e-5)
    classes, z, labels = ClassTokens(names, tiny), torch.randn(4, 6), torch.tensor([3, 0, 0, 4])
    made = [kind(tiny, 3, 6, 8) for kind in (PromptGenerator, PlainGenerator)]
    made[1].load_state_dict(made[0].state_dict())
    assert torch.allclose(made[0](z, labels, classes), made[1](z, labels, classes), atol=1e-5)


def test_names_are_different_and_as_many_as_asked():
    assert [len(set(class_names(count))) for count in (10, 100, 1000)] == [10, 100, 1000]


def test_multiply_adds_by_hand():
    a, b = torch.ones(3, 5, requires_grad=True), torch.ones(5, 7)
    assert multiply_adds(lambda: (a @ b).sum().backward()) == 2 * 3 * 5 * 7


def test_steps_take_turns_and_the_first_does_not_count(monkeypatch):
    clock, order = Clock(torch.device("cpu")), []
    times = iter([0, 90, 90, 190, 200, 201, 210, 212, 220, 221, 230, 232])
    monkeypatch.setattr(Clock, "now", lambda self: next(times))
    assert clock.seconds(lambda: order.append("a"), lambda: order.append("b"), repeats=2) == [1, 2]
    assert order == ["a", "b"] * 3


def test_the_whole_command_on_a_tiny_tower(small, tmp_path, capsys):
    file, chart = tmp_path / "all.json", tmp_path / "cost.png"
    words = "--classes 4 6 --context 2 --repeats 1 --device cpu --markdown".split()
    bench.main([*steps.STEPS, "--quick", *words, "--towers", "tiny", "--json", str(file), "--chart", str(chart)])
    out, found = capsys.readouterr().out, json.loads(file.read_text())
    assert found["machine"]["torch"] == torch.__version__ and chart.stat().st_size > 5000
    for name in steps.STEPS:
        few, many = found[name]
        assert (few["names"], many["names"]) == (4, 6) and f"\n{name}\n" in out
        assert all(row["ratio"] >= row["ratio_without_images"] > 0 and 0 < row["floor"] for row in (few, many))
        assert few["plain_measured_on"] == 1
    assert found["coop"][1]["plain_measured_on"] == pytest.approx(4 / 6) and "| ~" in out


def test_what_is_unknown_is_refused(capsys):
    with pytest.raises(SystemExit):
        bench.main(["speed"])
    assert "unknown benchmark speed; known: text_encoder" in capsys.readouterr().err


def test_whole_runs_are_compared_at_equal_epochs(monkeypatch):
    def finished(command, **_):
        assert "OPTIM.MAX_EPOCH" in command and command[command.index("OPTIM.MAX_EPOCH") + 1] == "7"
        ship = "CoOp_SHIP" in command
        assert ("TRAINER.SHIP.EPOCHS" in command) == ship
        folder = whole.ROOT / command[command.index("--output-dir") + 1]
        folder.mkdir(parents=True)
        seconds = {"finetune": 5.0, "generator": 4.0, "evaluate": 1.0} if ship else {"finetune": 2.0, "evaluate": 0.5}
        (folder / "results.json").write_text(json.dumps({"seconds": seconds, "metrics": {"H": 50.0}}))

    times = iter([0.0, 3.0, 3.0, 15.0])
    monkeypatch.setattr(whole.subprocess, "run", finished)
    monkeypatch.setattr(whole, "_cpu", lambda: next(times))
    coop, ship = whole.runs(7)
    assert coop["stages"] == 2.5 and ship["stages"] == 10.0 and ship["stages: times CoOp's"] == 4.0
    assert ship["process, CPU s: times CoOp's"] == 4.0 and "4" in tables.table([coop, ship], False)
