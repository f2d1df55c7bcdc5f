"""Ensemble: the mean of its members, through the command line on the tiny bank."""

import pytest
import torch
import torch.nn.functional as F
from dassl.utils import UserError
from runs import argv, check_a_killed_run_ends_like_one_left_alone, evaluate, log, results
from tiny_data import NAMES

import train
from trainers import open_run

SMALL = "TRAINER.SHIP.EPOCHS 3 TRAINER.SHIP.BATCH_SIZE 8 TRAINER.SHIP.HIDDEN_DIM 32".split()


def words(bank, out, trainer, *options, **rest):
    return argv(bank, out, trainer, *SMALL, *options, **rest)


def unit(rows=9):
    return F.normalize(torch.randn(rows, 256, generator=torch.Generator().manual_seed(0)), dim=1)


@pytest.fixture(scope="module")
def run(tiny_bank, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "base2new/caltech101/shots_4/Ensemble_GATE/miniclip/seed1"
    train.main(words(tiny_bank, out, "Ensemble_GATE"))
    return out


def test_it_is_the_mean_of_its_members_trained_as_they_are_alone(run, tiny_bank, tmp_path):
    train.main(words(tiny_bank, tmp_path / "a", "GaussianLDA_SHIP"))
    train.main(words(tiny_bank, tmp_path / "b", "CLIP_Adapter_SHIP", "TRAINER.SHIP.GENERATOR", "gaussian"))
    alone, ensemble, x = [open_run(tmp_path / name) for name in "ab"], open_run(run), unit()
    for names in (NAMES, NAMES[4:], ["cat", "lobster"]):
        logits = [trainer.logits(trainer.head_for(names), x) for trainer in alone]
        found = ensemble.logits(ensemble.method_head(names), x)
        assert torch.allclose(found, sum(logits) / 2, atol=1e-4)
    assert results(run)["extra"]["members"] == ["0-GaussianLDA_SHIP", "1-CLIP_Adapter_SHIP"]
    assert "last epoch of each member" in results(run)["selection"] and "all_H" in results(run)["metrics"]


def test_evaluation_alone_decides_alike(run, tiny_bank, tmp_path):
    for subset, name in (("base", "base"), ("all", "all")):
        found = evaluate(run, tiny_bank, tmp_path / subset, "Ensemble_GATE", *SMALL, subset=subset)
        assert found["metrics"]["accuracy"] == pytest.approx(results(run)["metrics"][name])


def test_a_killed_run_ends_like_one_left_alone(tiny_bank, tmp_path, monkeypatch):
    check_a_killed_run_ends_like_one_left_alone(monkeypatch, tmp_path, tiny_bank, "Ensemble_GATE", *SMALL)
    with pytest.raises(UserError, match="TRAINER.SHIP.EPOCHS was 3, is now 2"):
        train.main(words(tiny_bank, tmp_path / "cut", "Ensemble_GATE", "TRAINER.SHIP.EPOCHS", "2"))


def test_a_member_of_another_run_is_refused(tiny_bank, tmp_path, monkeypatch):
    """Cut off within a member, and started again with other options of that member."""
    from runs import train_killed_before_epoch

    train_killed_before_epoch(monkeypatch, 1, words(tiny_bank, tmp_path, "Ensemble"))
    with pytest.raises(UserError, match="TRAINER.CLIP_ADAPTER.RATIO was 0.2, is now 0.4"):
        train.main(words(tiny_bank, tmp_path, "Ensemble", "TRAINER.CLIP_ADAPTER.RATIO", "0.4"))


@pytest.mark.parametrize("shots, member", [(1, "CLIP_Adapter"), (3, "CLIP_Adapter_SHIP")])
def test_few_images_have_another_default_and_it_says_so(tiny_bank, tmp_path, shots, member):
    train.main(words(tiny_bank, tmp_path, "Ensemble_GATE", "DATASET.NUM_SHOTS", str(shots)))
    assert f"the median class has {shots} training images" in log(tmp_path)
    assert results(tmp_path)["extra"]["members"] == [f"0-{member}"] == list(open_run(tmp_path).members)


def test_members_of_ones_own_and_a_generator_shared(tiny_bank, tmp_path):
    """Two that SHIP serves alike train one generator; a member without new names serves beside them."""
    lines = ["GaussianLDA_SHIP", "CLIP_Adapter_SHIP", "CoOp OPTIM.LR 0.01"]
    train.main(words(tiny_bank, tmp_path / "run", "Ensemble", "TRAINER.ENSEMBLE.MEMBERS", str(lines)))
    assert log(tmp_path / "run").count("generator: reconstruction") == 1
    x, trainer = unit(), open_run(tmp_path / "run")
    assert [len(member.trained_classnames) for member in trainer.members.values()] == [7, 7, 4]
    heads = [member.method_head(NAMES) for member in trainer.members.values()]
    expected = sum(trainer.logits(head, x) for head in heads) / 3
    assert torch.allclose(trainer.logits(trainer.head_for(NAMES), x), expected, atol=1e-5)
    for line, reason in (("CoOp_GATE", "GATE goes over the ensemble"), ("CoOpp", "unknown trainer 'CoOpp'")):
        with pytest.raises(UserError, match=reason):
            train.main(words(tiny_bank, tmp_path / "no", "Ensemble", "TRAINER.ENSEMBLE.MEMBERS", str([line])))


def test_on_a_target_it_applies_what_a_source_learned(run, tiny_bank, tmp_path):
    with pytest.raises(UserError, match="start from a source run"):
        train.main(words(tiny_bank, tmp_path / "no", "Ensemble", task="cross_dataset"))
    out = tmp_path / "target"
    train.main(words(tiny_bank, out, "Ensemble", "MODEL.INIT_WEIGHTS", str(run), task="cross_dataset"))
    assert results(out)["metrics"]["accuracy"] > 50 and results(out)["source"] == "caltech101"
