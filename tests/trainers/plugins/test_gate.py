"""GATE: its equations against numbers, its invariants, and through the command line on the tiny bank."""

import shutil

import pytest
import torch
from dassl.utils import UserError
from runs import argv, log, newest_state, results, same_state
from safetensors.torch import load_file
from tiny_data import NAMES, make_bank

import train
from trainers import open_run
from trainers.core.heads import which_are_base
from trainers.plugins import gate

# ---- equations


@pytest.mark.parametrize("judge_new, expected", [(5.0, [0, -2, 0.5]), (2.0, [0, -2, -1])])
def test_golden(judge_new, expected):
    rows = [[2.0, 0.0]], [[1.0]], [[1.0, 3.0]], [[judge_new]]
    base, new = gate.gated(*(torch.tensor(row, dtype=torch.float64) for row in rows))
    assert [*base[0].tolist(), *new[0].tolist()] == pytest.approx(expected)


def test_within_a_side_the_method_decides_and_the_sign_of_d_takes_the_side():
    """In the caller's order of names, of which two are equal and told apart by position."""
    names, known = ["cat", "owl", "missile", "missile", "dog"], ["dog", "missile", "cat"]
    is_base = which_are_base(names, known)
    assert is_base.tolist() == [True, False, True, False, True]  # of two missiles the first is the base one
    torch.manual_seed(0)
    x = torch.randn(50, 8)
    base, new, judge = (torch.nn.Linear(8, classes).requires_grad_(False) for classes in (3, 2, 5))
    head = gate.GatedHead(base, new, judge, is_base)
    logits, h = head(x), judge(x)
    assert torch.equal(logits[:, is_base].argsort(1), base(x).argsort(1))
    assert torch.equal(logits[:, ~is_base].argsort(1), new(x).argsort(1))
    d = (new(x).amax(1) - base(x).amax(1) + h[:, ~is_base].amax(1) - h[:, is_base].amax(1)) / 2
    assert torch.equal(is_base[logits.argmax(1)], d <= 0) and 5 < int((d <= 0).sum()) < 45
    assert torch.allclose(head.base_score(x, logits), -d, atol=1e-5)


# ---- the command line


@pytest.fixture(scope="module")
def bank(tmp_path_factory, miniclip_backbone):
    """Noisy enough that the side of an image is no triviality."""
    path = tmp_path_factory.mktemp("bank") / "noisy.safetensors"
    return make_bank(path, miniclip_backbone, noise=4.0, train=8, val=6, test=12)


@pytest.fixture(scope="module")
def run(bank, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "base2new/caltech101/shots_4/CoOp_GATE/miniclip/seed1"
    train.main(argv(bank, out, "CoOp_GATE"))
    return out


def test_only_joint_figures_move(run, bank, tmp_path):
    train.main(argv(bank, tmp_path, "CoOp"))
    plain, gated = results(tmp_path)["metrics"], results(run)["metrics"]
    assert all(plain[name] == gated[name] for name in ("base", "new", "H")) and plain["all"] != gated["all"]
    assert same_state(run, tmp_path)


def test_over_the_judge_itself_no_prediction_changes(bank, tmp_path):
    for trainer in ("GaussianLDA", "GaussianLDA_GATE"):
        train.main(argv(bank, tmp_path / trainer, trainer))
    plain, gated = (results(tmp_path / trainer)["metrics"] for trainer in ("GaussianLDA", "GaussianLDA_GATE"))
    decided = [name for name in plain if name not in ("openworld_auc", "auroc", "ece_base", "ece_new")]
    assert len(decided) > 9 and all(plain[name] == pytest.approx(gated[name]) for name in decided)
    judge, state = load_file(tmp_path / "GaussianLDA_GATE" / gate.FILE), newest_state(tmp_path / "GaussianLDA")
    assert judge.keys() == state.keys() and all(torch.equal(judge[name], state[name]) for name in judge)


def test_a_file_that_is_missing_or_damaged_is_refused(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / gate.FILE).write_bytes((run / gate.FILE).read_bytes()[:-3] + b"abc")
    with pytest.raises(UserError, match="is damaged"):
        open_run(str(copy))
    (copy / gate.FILE).unlink()
    with pytest.raises(UserError, match="finished run of a trainer with GATE"):
        open_run(str(copy))


def test_where_there_is_nothing_to_tell_apart_it_is_idle_and_says_so(bank, tmp_path):
    out = tmp_path / "few"  # too few for a covariance
    train.main(argv(bank, out, "ZeroshotCLIP_GATE", "DATASET.NUM_SHOTS", "3"))
    assert f"GATE: {gate.FEW.format(3)}" in log(out) and not hasattr(open_run(out).head_for(NAMES), "judge")
    for task in ("fewshot", "cross_dataset"):
        train.main(argv(bank, tmp_path / task, "ZeroshotCLIP_GATE", task=task))
        assert results(tmp_path / task)["extra"]["gate"] == {"idle": gate.ONE_KIND}


def test_zero_shot_as_the_expert_for_new_names(bank, tmp_path):
    """Also where the method has no column for new names, as Tip-Adapter's cache."""
    train.main(argv(bank, tmp_path / "method", "Tip_Adapter_F_GATE"))
    assert {"new", "all"} <= results(tmp_path / "method")["unsupported"].keys()
    train.main(argv(bank, tmp_path / "zero", "ZeroshotCLIP"))
    train.main(argv(bank, tmp_path / "gate", "Tip_Adapter_F_GATE", "TRAINER.GATE.NEW_EXPERT", "zero_shot"))
    found = results(tmp_path / "gate")["metrics"]
    assert found["new"] == results(tmp_path / "zero")["metrics"]["new"] and "all_H" in found
