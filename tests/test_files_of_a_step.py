"""How many of our files one reads to follow a training step, an evaluation, and a run that is resumed."""

import sys
from pathlib import Path

import pytest
from dassl.engine import TRAINER_REGISTRY
from runs import ROOT, argv, train_killed_before_epoch

import train
from trainers.core import checkpoints, metrics

OURS = ("train.py", "trainers", "datasets", "scripts")


@pytest.fixture
def seen():
    """(a set, note): with `note` as sys's profiler, the set gets the files of ours whose code is executed."""
    files = set()

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event == "call" and ROOT in path.parents and path.relative_to(ROOT).parts[0] in OURS:
            files.add(str(path.relative_to(ROOT)))

    yield files, note
    sys.setprofile(None)


def test_the_first_step_from_its_loss_to_the_next_one(tiny_bank, tmp_path, monkeypatch, seen):
    kind, (files, note), calls = TRAINER_REGISTRY.get("CoOp_SHIP"), seen, []
    compute_loss = kind.compute_loss

    def watched(trainer, features, labels):
        calls.append(1)
        sys.setprofile(note if len(calls) == 1 else None)
        return compute_loss(trainer, features, labels)

    monkeypatch.setattr(kind, "compute_loss", watched)
    train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP"))
    assert len(calls) > 1 and 3 < len(files) <= 9, files


@pytest.mark.parametrize("stage", ["evaluation", "resuming"])
def test_an_evaluation_and_a_resumed_run(tiny_bank, tmp_path, monkeypatch, stage, seen):
    (files, note), words = seen, argv(tiny_bank, tmp_path, "CoOp_SHIP")
    if stage == "resuming":
        train_killed_before_epoch(monkeypatch, 2, words)
    module, name = (checkpoints, "resume") if stage == "resuming" else (metrics, "evaluate")
    function = getattr(module, name)

    def watched(*arguments):
        sys.setprofile(note)
        found = function(*arguments)
        sys.setprofile(None)
        return found

    monkeypatch.setattr(module, name, watched)
    train.main(words)
    assert 3 < len(files) <= 12, files
