"""scripts/bench.py: both formulations compute the same, and every benchmark fills its table."""

import bench
import pytest
import torch
from lib.bench import bank, launches, steps
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
    names, features = bench.class_names(5), unit(6, tiny.embed_dim)
    works = steps.Work(tiny, names, 3), steps.Work(tiny, names, 3, is_plain=True)
    classes, z, labels = ClassTokens(names, tiny), torch.randn(4, tiny.width), torch.tensor([3, 0, 0, 4])
    given = torch.eye(5, tiny.embed_dim), unit(7, tiny.embed_dim), torch.tensor([4, 0, 1, 2, 3, 0, 0]), 1.2, 2.0, True
    pairs = [
        [work.head(kind, count) for work in works] for kind, count in ((CoOpHead, 1), (CoCoOpHead, 1), (ProDAHead, 4))
    ]
    pairs += [[kind(tiny, names, *given) for kind in (steps.TipHead, steps.PlainTipHead)]]
    for ours, plain in pairs:
        plain.load_state_dict(ours.state_dict())
        torch.testing.assert_close(ours(features), plain(features), atol=1e-4, rtol=0)
    ours, plain = (work.prompt_generator(3) for work in works)
    plain.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(z, labels, classes), plain(z, labels, classes), atol=1e-5, rtol=0)
    ours, plain = (work.zero_shot()(features) for work in works)
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=0)


def test_the_steps_run_and_their_costs_are_scaled(tiny, monkeypatch, capsys):
    def seconds(_, *calls):
        for call in calls:
            call()
        return [8.0, 24.0][: len(calls)]  # ours and plain; or images alone

    monkeypatch.setattr(bench, "TOWERS", {"tiny": lambda: tiny})
    monkeypatch.setattr(steps, "HIDDEN", 16)
    monkeypatch.setattr(bench, "NAMES", 4)
    monkeypatch.setattr(bench, "seconds", seconds)
    bench.main("text_encoder peers --towers tiny --classes 4 6 --context 2 --markdown --cpu-time".split())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny")]
    rows = [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines[1::2]]  # those of six names
    plain = ["6", "2", "36", "8", "4.5"]  # names, context, plain, ours, ratio; images, ratio with them
    assert rows[:3] == [plain, ["6", "2", "24", "8", "3", "8", "4"], [*plain, "8", "5.5"]]  # text encoder, SHIP, CoOp
    assert rows[3] == ["6", "2", "36", "0.5", "72", "8", "88"]  # CoOp + SHIP, 16 steps at once
    assert rows[4:] == [plain, plain, plain, ["6", "2", "24", "8", "3"], plain]  # the fourth is Tip-Adapter-F
    assert [len(set(bench.class_names(count))) for count in (10, 100)] == [10, 100]
    assert len(bench.class_names(1500)) == 1500


def test_a_made_up_bank_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(bank, "CLASSES", 10)
    bank.make(tmp_path / "bank", 400)
    few, whole = (bank.measure(tmp_path / "bank", shots) for shots in (16, -1))
    assert [(row["training images"], row["test images"]) for row in (few, whole)] == [(160, 400), (400, 400)]


def test_the_launcher_and_a_process_for_each_make_the_same_runs(monkeypatch):
    """Nothing is trained here: it is looked at what would run."""
    python, made = launches.python, []

    def record(*words, **variables):
        made.append(words)
        return python(*words, **variables) if "--dry-run" in words else ""

    monkeypatch.setattr(launches, "python", record)
    monkeypatch.setattr(launches, "cpu_seconds", lambda step: step() or 2.0)
    free, _ = launches.sweep()
    assert free == {"what": "without prompts", "before, s": 2.0, "now, s": 2.0, "ratio": 1.0}
    runs = [words for words in made if words[0] == "train.py"]
    assert len(runs) == 2 * (len(launches.FREE) + 11) and len(made) == len(runs) + 4
    assert made[-1] == ("scripts/launch.py", "table1", "--seeds", "1", "--jobs", "1")
