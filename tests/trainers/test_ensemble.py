"""Ensemble: the mean of its members, through the command line on the tiny bank."""

import pytest
import torch
from dassl.utils import UserError
from plain import unit
from runs import SMALL_SHIP, log, results, train_killed_before_epoch
from runs import argv as words
from tiny_data import NAMES

import train
from trainers import open_run


def argv(bank, out, trainer, *options, **rest):
    return words(bank, out, trainer, *SMALL_SHIP, *options, **rest)


@pytest.fixture(scope="module")
def run(tiny_bank, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "base2new/caltech101/shots_4/Ensemble_GATE/miniclip/seed1"
    train.main(argv(tiny_bank, out, "Ensemble_GATE"))
    return out


def test_it_is_the_mean_of_its_members_trained_as_they_are_alone(run, tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path / "a", "GaussianLDA_SHIP"))
    train.main(argv(tiny_bank, tmp_path / "b", "CLIP_Adapter_SHIP", "TRAINER.SHIP.GENERATOR", "gaussian"))
    alone, ensemble, x = [open_run(tmp_path / name) for name in "ab"], open_run(run), unit(9, 256)
    for names in (NAMES, NAMES[4:], ["cat", "lobster"]):
        logits = [trainer.logits(trainer.head_for(names), x) for trainer in alone]
        found = ensemble.logits(ensemble.method_head(names), x)
        assert torch.allclose(found, sum(logits) / 2, atol=1e-4)
    assert results(run)["extra"]["members"] == ["0-GaussianLDA_SHIP", "1-CLIP_Adapter_SHIP"]
    assert "last epoch of each member" in results(run)["selection"] and "all_H" in results(run)["metrics"]


def test_a_member_of_another_run_is_refused(tiny_bank, tmp_path, monkeypatch):
    """Cut off within a member, and started again with other options of that member."""
    train_killed_before_epoch(monkeypatch, 1, argv(tiny_bank, tmp_path, "Ensemble"))
    with pytest.raises(UserError, match="TRAINER.CLIP_ADAPTER.RATIO was 0.2, is now 0.4"):
        train.main(argv(tiny_bank, tmp_path, "Ensemble", "TRAINER.CLIP_ADAPTER.RATIO", "0.4"))


def test_few_images_have_another_default_and_it_says_so(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path, "Ensemble_GATE", "DATASET.NUM_SHOTS", "3"))
    assert "the median class has 3 training images" in log(tmp_path)
    assert results(tmp_path)["extra"]["members"] == ["0-CLIP_Adapter_SHIP"] == list(open_run(tmp_path).members)


def test_members_of_ones_own(tiny_bank, tmp_path):
    """A member without new names serves beside others."""
    lines = ["GaussianLDA_SHIP", "CLIP_Adapter_SHIP", "CoOp OPTIM.LR 0.01"]
    train.main(argv(tiny_bank, tmp_path / "run", "Ensemble", "TRAINER.ENSEMBLE.MEMBERS", str(lines)))
    x, trainer = unit(9, 256), open_run(tmp_path / "run")
    assert [len(member.trained_classnames) for member in trainer.members.values()] == [7, 7, 4]
    heads = [member.method_head(NAMES) for member in trainer.members.values()]
    expected = sum(trainer.logits(head, x) for head in heads) / 3
    assert torch.allclose(trainer.logits(trainer.head_for(NAMES), x), expected, atol=1e-5)
    for line, reason in (("CoOp_GATE", "GATE goes over it"), ("CoOpp", "CoOpp cannot be .* CoOp,")):
        with pytest.raises(UserError, match=reason):
            train.main(argv(tiny_bank, tmp_path / "no", "Ensemble", "TRAINER.ENSEMBLE.MEMBERS", str([line])))


def test_on_a_target_it_applies_what_a_source_learned(run, tiny_bank, tmp_path):
    with pytest.raises(UserError, match="start from a source run"):
        train.main(argv(tiny_bank, tmp_path / "no", "Ensemble", task="cross_dataset"))
    out = tmp_path / "target"
    train.main(argv(tiny_bank, out, "Ensemble", "MODEL.INIT_WEIGHTS", str(run), task="cross_dataset"))
    assert results(out)["metrics"]["accuracy"] > 50 and results(out)["source"] == "caltech101"
