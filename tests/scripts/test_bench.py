"""scripts/bench.py: both formulations compute the same, and every benchmark fills its table."""

import bench
import pytest
import torch
from lib.bench import bank, plain, steps
from plain import unit
from tiny_clip import tiny_clip

from trainers.cocoop import CoCoOpHead
from trainers.coop import CoOpHead
from trainers.core.model.prompts import ClassTokens
from trainers.proda import ProDAHead


@pytest.fixture(scope="module")
def tiny():
    return tiny_clip()


def test_both_formulations_compute_the_same(tiny):
    torch.manual_seed(0)
    names, ctx, features = bench.class_names(5), 0.02 * torch.randn(4, 3, tiny.width), unit(6, tiny.embed_dim)
    for kind, contexts in ((CoOpHead, ctx[0]), (CoCoOpHead, ctx[0]), (ProDAHead, ctx)):
        ours = steps._prompts(steps.OURS, tiny, kind, names, contexts)
        theirs = steps._prompts(steps.PLAIN, tiny, kind, names, contexts)
        theirs.load_state_dict(ours.state_dict())
        torch.testing.assert_close(ours(features), theirs(features), atol=1e-4, rtol=0)
    classes, z, labels = ClassTokens(names, tiny), torch.randn(4, tiny.width), torch.tensor([3, 0, 0, 4])
    ours, theirs = (steps._generator(kind, tiny, 3) for kind in (steps.OURS, steps.PLAIN))
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(z, labels, classes), theirs(z, labels, classes), atol=1e-5, rtol=0)
    ours, theirs = (kind.zero_shot(tiny, names)(features) for kind in (steps.OURS, steps.PLAIN))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    given = torch.eye(5, tiny.embed_dim), unit(7, tiny.embed_dim), torch.tensor([4, 0, 1, 2, 3, 0, 0]), 1.2, 2.0, True
    ours, theirs = (kind.tip(tiny, names, *given)(features) for kind in (steps.OURS, steps.PLAIN))
    torch.testing.assert_close(ours, theirs, atol=3e-6, rtol=1e-6)


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
    words = f"text_encoder peers --towers tiny --classes 4 6 --context 2 --chart {chart} --markdown --cpu-time"
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
        *[["4", "2", "24", "8", "3"], ["6", "2", "36", "8", "4.5"]] * 3,  # CoCoOp, ProDA, CLIP-Adapter
        *[["4", "2", "24", "8", "3"], ["6", "2", "24", "8", "3"]],  # Tip-Adapter-F
        *[["4", "2", "24", "8", "3"], ["6", "2", "36", "8", "4.5"]],  # evaluation
    ]
    assert chart.stat().st_size > 5000


def test_steps_take_turns_and_their_median_counts():
    order = []
    arguments = bench.parse_arguments("step --cpu-time --repeats 2".split())
    calls = [lambda: (order.append("a"), sum(range(100_000))), lambda: (order.append("b"), sum(range(1_000_000)))]
    few, many = bench.seconds(arguments, *calls)
    assert many > 3 * few
    assert [letter for letter, before in zip(order, ["", *order], strict=False) if letter != before] == ["a", "b"] * 2


def test_a_made_up_bank_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(bank, "CLASSES", 10)
    bank.make(tmp_path / "bank", 400)
    few, whole = (bank.measure(tmp_path / "bank", shots) for shots in (16, -1))
    assert [(row["training images"], row["test images"]) for row in (few, whole)] == [(160, 400), (400, 400)]
