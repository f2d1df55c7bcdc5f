"""SHIP's share, and SHIP's class means in methods of closed form, through the command line on the tiny bank."""

import pytest
import torch
import torch.nn.functional as F
from runs import argv, evaluate, log, results, same_state
from tiny_data import NAMES, poison

import train
from trainers import open_run
from trainers.coop import CoOp

LDA = ["TRAINER.SHIP.GENERATOR", "gaussian"]


@pytest.mark.parametrize("trainer", ["CoOp", "Tip_Adapter_F"])
def test_share_zero_is_the_method_without_ship_bit_for_bit(tiny_bank, tmp_path, trainer):
    train.main(argv(tiny_bank, tmp_path / "alone", trainer))
    train.main(argv(tiny_bank, tmp_path / "zero", f"{trainer}_SHIP", "TRAINER.SHIP.SHARE", "0"))
    assert same_state(tmp_path / "alone", tmp_path / "zero")
    assert results(tmp_path / "alone")["metrics"] == results(tmp_path / "zero")["metrics"]
    assert not (tmp_path / "zero" / "generator").exists()


@pytest.mark.parametrize("share, rows", [(0.5, 4), (0.01, 1)])
def test_a_batch_has_that_share_of_synthetic_rows(tiny_bank, tmp_path, monkeypatch, share, rows):
    seen, original = [], CoOp.compute_loss

    def noting(method, features, labels):
        seen.append((int((labels < 4).sum()), int((labels >= 4).sum())))
        return original(method, features, labels)

    monkeypatch.setattr(CoOp, "compute_loss", noting)
    train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP", *LDA, "TRAINER.SHIP.SHARE", str(share), "TEST.NO_TEST", "True"))
    assert set(seen) == {(8, rows)}


@pytest.mark.parametrize("trainer", ["GaussianLDA", "Prototype"])
def test_class_means_stand_in_the_place_of_texts(tiny_bank, tmp_path, trainer):
    """As the equations say; equal after loading, over any names and in any order, and with new classes hidden."""
    train.main(argv(tiny_bank, tmp_path / "alone", trainer))
    hidden = poison(tiny_bank, tmp_path / "hidden.safetensors", lambda part, label: label >= 4 or part == "test")
    train.main(argv(hidden, tmp_path / "ship", f"{trainer}_SHIP", "TEST.NO_TEST", "True"))
    assert "nothing to train" in log(tmp_path / "ship")
    alone, ship = open_run(tmp_path / "alone"), open_run(tmp_path / "ship")
    x = F.normalize(torch.randn(9, 256, generator=torch.Generator().manual_seed(0)), dim=1)
    means, texts = ship.class_means(NAMES), alone.head_for(NAMES).hand_written(NAMES)
    assert torch.allclose(means.norm(dim=1), torch.ones(7)) and not torch.allclose(means, texts, atol=0.1)
    scale, plain = ship.head.logit_scale, alone.logits(alone.head_for(NAMES), x)
    if trainer == "GaussianLDA":
        expected = plain + scale * x @ (means - texts).t()
    else:
        of_base = alone.head.means
        rows = torch.cat([of_base, means[4:] + of_base.mean(0) - means[:4].mean(0)])
        expected = scale * x @ F.normalize(rows, dim=1).t()
    found = ship.logits(ship.head_for(NAMES), x)
    assert torch.allclose(found, expected, atol=1e-4)
    assert torch.allclose(ship.logits(ship.head_for(NAMES[::-1]), x), found.flip(1), atol=1e-4)
    other = ship.logits(ship.head_for(["cat", "lobster"]), x)  # a name that nobody gave while training
    assert torch.allclose(other[:, 0], found[:, 1], atol=1e-4) and torch.isfinite(other).all()


def test_the_row_to_recommend_runs_and_is_evaluated_again(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path / "run", "GaussianLDA_SHIP_GATE"))
    found = results(tmp_path / "run")
    assert found["plugins"] == ["SHIP", "GATE"] and {"all_H", "ausuc"} <= found["metrics"].keys()
    again = evaluate(tmp_path / "run", tiny_bank, tmp_path / "all", "GaussianLDA_SHIP_GATE", subset="all")
    assert again["metrics"]["accuracy"] == found["metrics"]["all"]
