"""How many of our files one reads to follow a training step, an evaluation, and a run that is resumed."""

import sys
from pathlib import Path

import pytest
from dassl.engine import TRAINER_REGISTRY
from runs import ROOT, argv, train_killed_before_epoch

import train
from trainers.core import checkpoints, metrics

OURS = ("train.py", "trainers", "datasets", "scripts")


class Files:
    """The files of ours, third_party aside, whose code is executed between `start` and `stop`."""

    def __init__(self):
        self.seen = set()

    def note(self, frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event == "call" and ROOT in path.parents and path.relative_to(ROOT).parts[0] in OURS:
            self.seen.add(path.relative_to(ROOT))
        return None

    def start(self):
        sys.setprofile(self.note)

    def stop(self):
        sys.setprofile(None)
        return sorted(map(str, self.seen))


def around(files, function):
    """`function`, whose first call is watched."""

    def watched(*arguments, **options):
        if files.seen:
            return function(*arguments, **options)
        files.start()
        try:
            return function(*arguments, **options)
        finally:
            files.stop()

    return watched


def test_the_first_step_from_its_loss_to_the_next_one(tiny_bank, tmp_path, monkeypatch):
    kind, files, calls = TRAINER_REGISTRY.get("CoOp_SHIP"), Files(), []
    compute_loss = kind.compute_loss

    def watched(trainer, features, labels):
        calls.append(1)
        files.start() if len(calls) == 1 else files.stop()
        return compute_loss(trainer, features, labels)

    monkeypatch.setattr(kind, "compute_loss", watched)
    train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP"))
    assert len(calls) > 1 and len(files.stop()) <= 9, files.stop()


@pytest.mark.parametrize("stage, limit", [("evaluation", 12), ("resuming", 12)])
def test_an_evaluation_and_a_resumed_run(tiny_bank, tmp_path, monkeypatch, stage, limit):
    files, words = Files(), argv(tiny_bank, tmp_path, "CoOp_SHIP")
    if stage == "resuming":
        train_killed_before_epoch(monkeypatch, 2, words)
        monkeypatch.setattr(checkpoints, "resume", around(files, checkpoints.resume))
    else:
        monkeypatch.setattr(metrics, "evaluate", around(files, metrics.evaluate))
    train.main(words)
    assert 3 < len(files.stop()) <= limit, files.stop()
