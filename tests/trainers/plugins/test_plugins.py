"""Plug-ins: hooks in their order, names in one order, refusals with reasons, and one that changes nothing."""

import pytest
import torch
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import UserError
from runs import Recorded, argv, log, results, same_state

import train
from trainers.coop import CoOp
from trainers.core import Plugin
from trainers.plugins import composed


class Idle(Plugin):
    """Weight zero: it draws, computes and adds nothing."""

    NAME = SECTION = "IDLE"
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
        return {"idle": 0.0 * logits.square().mean()}

    def tune(self):
        self.calls.append("tune")
        return ""

    def head_for(self, head, names):
        self.calls.append("head_for")
        return head

    def save(self, folder):
        self.calls.append("save")

    def results(self):
        return {"idle": True}


@pytest.fixture
def registered(monkeypatch):
    """Registers a composed class for a test, and takes it out again."""
    return lambda made: monkeypatch.setitem(TRAINER_REGISTRY._obj_map, made.__name__, made)


def test_a_plug_in_of_weight_zero_leaves_a_run_as_it_is(tiny_bank, tmp_path, monkeypatch, registered):
    """Bit for bit, the loss of each step too; and it composes with SHIP."""
    with_idle = composed(CoOp, (*TRAINER_REGISTRY.get("CoOp_SHIP").PLUGINS, Idle))
    registered(with_idle)
    Idle.calls.clear()
    before = Recorded(monkeypatch, argv(tiny_bank, tmp_path / "plain", "CoOp_SHIP"))
    args = argv(tiny_bank, tmp_path / "idle", "CoOp_SHIP")
    args[args.index("--trainer") + 1] = with_idle.__name__
    after = Recorded(monkeypatch, args)
    one, two = results(tmp_path / "plain"), results(tmp_path / "idle")
    assert one["metrics"] == two["metrics"] and two["method"] == "CoOp"
    assert two["plugins"] == [*one["plugins"], "IDLE"] and two["extra"]["idle"] is True
    assert before.losses == after.losses and same_state(tmp_path / "plain", tmp_path / "idle")
    order = list(dict.fromkeys(Idle.calls))
    assert order == ["prepare", "attach", "batch", "tune", "save", "head_for"]


def test_a_penalty_is_added_to_the_loss_and_logged(tiny_bank, tmp_path, monkeypatch, registered):
    class Constant(Plugin):
        NAME = SECTION = "CONSTANT"

        def penalty(self, features, labels, logits):
            return {"constant": logits.new_tensor(2.5)}

    registered(composed(CoOp, (Constant,)))
    plain = Recorded(monkeypatch, argv(tiny_bank, tmp_path / "plain", "CoOp", "OPTIM.MAX_EPOCH", "1"))
    args = argv(tiny_bank, tmp_path / "more", "CoOp", "OPTIM.MAX_EPOCH", "1")
    args[args.index("--trainer") + 1] = "CoOp_CONSTANT"
    more = Recorded(monkeypatch, args)
    assert more.losses == pytest.approx([loss + 2.5 for loss in plain.losses], abs=1e-3)
    assert "constant 2.5" in log(tmp_path / "more")


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
