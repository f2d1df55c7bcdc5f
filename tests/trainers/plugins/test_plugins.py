"""Plug-ins: hooks in their order, names in one order, refusals with reasons, and one that changes nothing."""

import pytest
import torch
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import UserError
from runs import Recorded, argv, log, results, same_state

import train
from trainers.coop import CoOp
from trainers.core import Plugin
from trainers.plugins import SHIP, composed


class Constant(Plugin):
    """Adds a constant to the loss; besides it draws, and changes nothing."""

    NAME = SECTION = "CONSTANT"
    value = 0.0
    calls: list = []

    def prepare(self):
        self.calls.append("prepare")
        torch.rand(3, generator=self.draws("prepare"))

    def attach(self, head):
        self.calls.append("attach")

    def batch(self, features, labels):
        self.calls.append("batch")
        torch.rand(3, generator=self.draws("batch"))
        return features, labels

    def penalty(self, features, labels, logits):
        return {"constant": logits.new_tensor(self.value)}

    def tune(self):
        self.calls.append("tune")
        return ""

    def head_for(self, head, names):
        self.calls.append("head_for")
        return head

    def save(self, folder):
        self.calls.append("save")

    def results(self):
        return {"constant": True}


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_plug_in_adds_its_penalty_and_leaves_the_rest_as_it_is(tiny_bank, tmp_path, monkeypatch, value):
    """Bit for bit, with weight zero the loss of each step too; and it composes with SHIP."""
    made = composed(CoOp, (SHIP, Constant))
    monkeypatch.setitem(TRAINER_REGISTRY._obj_map, made.__name__, made)
    monkeypatch.setattr(Constant, "value", value)
    Constant.calls.clear()
    before = Recorded(monkeypatch, argv(tiny_bank, tmp_path / "plain", "CoOp_SHIP"))
    args = argv(tiny_bank, tmp_path / "more", "CoOp_SHIP")
    args[args.index("--trainer") + 1] = made.__name__
    after = Recorded(monkeypatch, args)
    one, two = results(tmp_path / "plain"), results(tmp_path / "more")
    assert one["metrics"] == two["metrics"] and same_state(tmp_path / "plain", tmp_path / "more")
    assert (two["method"], two["plugins"], two["extra"]["constant"]) == ("CoOp", ["SHIP", "CONSTANT"], True)
    assert after.losses == pytest.approx([loss + value for loss in before.losses], abs=1e-6 * value)
    assert f"constant {value}" in log(tmp_path / "more")
    order = list(dict.fromkeys(Constant.calls))
    assert order == ["prepare", "attach", "batch", "tune", "save", "head_for"]


@pytest.mark.parametrize(
    "name, reason",
    [
        ("Tip_Adapter_SHIP", "Tip_Adapter cannot have SHIP: it trains nothing"),
        ("f_VAEGAN_SHIP", "f_VAEGAN cannot have SHIP: it makes features .* by itself"),
        ("CoOp_GATE_SHIP", "another order; type CoOp_SHIP_GATE"),
    ],
)
def test_a_refusal_says_why(tiny_bank, tmp_path, name, reason):
    args = argv(tiny_bank, tmp_path, "CoOp")
    args[args.index("--trainer") + 1] = name
    with pytest.raises(UserError, match=reason):
        train.main(args)
