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
    NAME = SECTION = "CONSTANT"
    value = 0.0

    def penalty(self, features, labels, logits):
        return {"constant": logits.new_tensor(self.value)}

    def results(self):
        return {"constant": True}


def noted(calls, name):
    """The hook of this name, which notes that it is called, and draws."""

    def hook(plugin, *arguments):
        calls.append(name)
        torch.rand(3, generator=plugin.draws(name))
        return getattr(Plugin, name)(plugin, *arguments)

    return hook


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_plug_in_adds_its_penalty_and_leaves_the_rest_as_it_is(tiny_bank, tmp_path, monkeypatch, value):
    """Bit for bit, with weight zero the loss of each step too; and it composes with SHIP."""
    hooks, calls = ["prepare", "attach", "batch", "tune", "save", "head_for"], []  # in their order
    for name in hooks:
        monkeypatch.setattr(Constant, name, noted(calls, name))
    made = composed(CoOp, (SHIP, Constant))
    monkeypatch.setitem(TRAINER_REGISTRY._obj_map, made.__name__, made)
    monkeypatch.setattr(Constant, "value", value)
    before = Recorded(monkeypatch, argv(tiny_bank, tmp_path / "plain", "CoOp_SHIP"))
    args = argv(tiny_bank, tmp_path / "more", "CoOp_SHIP")
    args[args.index("--trainer") + 1] = made.__name__
    after = Recorded(monkeypatch, args)
    one, two = results(tmp_path / "plain"), results(tmp_path / "more")
    assert one["metrics"] == two["metrics"] and same_state(tmp_path / "plain", tmp_path / "more")
    assert (two["method"], two["plugins"], two["extra"]["constant"]) == ("CoOp", ["SHIP", "CONSTANT"], True)
    assert after.losses == pytest.approx([loss + value for loss in before.losses], abs=1e-6 * value)
    assert f"constant {value}" in log(tmp_path / "more")
    assert list(dict.fromkeys(calls)) == hooks


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
