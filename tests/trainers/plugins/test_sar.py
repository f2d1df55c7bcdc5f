"""SAR: its equations on numbers worked out by hand, and through the command line against the plain formulation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dassl.utils import UserError
from plain import hand_written, plain_text_features
from runs import ROOT, Recorded, argv, open_data, results, same_state
from tiny_data import NAMES

import train
from trainers.core.files import plain, read_names
from trainers.core.model.vocabulary import token_words
from trainers.core.registry import known_trainers
from trainers.plugins.sar import KEY, SAR, distance
from trainers.proda import positions_of

NEW = NAMES[4:]  # what the task makes of the tiny bank

# ---- the equations

T0 = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=torch.double)
T = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]], dtype=torch.double)
GOLDEN = [("kl", 0.5, 0.0347825229), ("kl", 0.1, 0.5091542860), ("mse", 0.5, 0.0266666667)]


@pytest.mark.parametrize("kind, tau, value", GOLDEN)
def test_worked_out_values(kind, tau, value):
    assert distance(kind, T, T0, tau, 100.0).item() == pytest.approx(value, abs=1e-10)


def test_worked_out_gradient():
    learned = T.clone().requires_grad_()
    distance("kl", F.normalize(learned, dim=-1), T0, 0.5, 100.0).backward()
    expected = torch.tensor([[0, 0.10434757], [-0.13913009, 0], [0.14608660, -0.19478213]], dtype=torch.double)
    assert torch.allclose(learned.grad, expected, atol=1e-8)


def test_the_text_to_text_loss_by_hand():
    """Each learned text among all hand-written ones: -log of its own softmax entry, on average."""
    rows = (5.0 * T @ T0.t()).exp()
    own = torch.stack([-(rows[i, i] / rows[i].sum()).log() for i in range(3)]).mean()
    assert distance("lasp", T, T0, 1.0, 5.0).item() == pytest.approx(own.item())


def test_pearson_is_one_less_the_correlation_of_all_pairs():
    draw = torch.Generator().manual_seed(0)
    t, t0 = (F.normalize(torch.randn(6, 9, generator=draw).double(), dim=1).requires_grad_() for _ in range(2))
    pairs = np.triu_indices(6, 1)
    s, s0 = ((unit @ unit.t()).detach().numpy()[pairs] for unit in (t, t0))
    assert distance("pearson", t, t0, 1, 1).item() == pytest.approx(1 - np.corrcoef(s, s0)[0, 1], abs=1e-12)
    assert distance("pearson", t0, t0, 1, 1).item() == pytest.approx(0, abs=1e-12)
    distance("pearson", t, t0, 1, 1).backward()
    assert t.grad.norm() > 0


# ---- in a run


def plain_features(backbone, trainer, names, state, features, prompts):
    """What each method's text features are, written out with all 77 positions."""
    if trainer == "CoCoOp":
        hidden = (features @ state["meta_net.linear1.weight"].t() + state["meta_net.linear1.bias"]).relu()
        shifts = hidden @ state["meta_net.linear2.weight"].t() + state["meta_net.linear2.bias"]
        return plain_text_features(backbone, names, (state["ctx"] + shifts[:, None]).mean(0))
    if trainer == "CoOp_VPT":
        return plain_text_features(backbone, names, state["ctx"] + state["posterior.mean"][0])
    if trainer == "ProDA":
        places = positions_of(len(state["ctx"]))
        each = [plain_text_features(backbone, names, state["ctx"][i], places[i]) for i in prompts]
        return F.normalize(torch.stack(each).mean(0), dim=-1)
    return plain_text_features(backbone, names, state["ctx"])


@pytest.mark.parametrize("trainer", ["CoOp", "KgCoOp", "CoCoOp", "ProDA", "CoOp_VPT"])
def test_the_penalty_is_the_plain_one_and_moves_the_prompts_alone(
    tiny_bank, tmp_path, monkeypatch, miniclip_backbone, trainer
):
    """W times the divergence of the drawn names' relations, whatever the method's text features are."""
    penalty, steps = SAR.penalty, []

    def checked(plugin, features, labels, logits):
        head, found = plugin.trainer.head, penalty(plugin, features, labels, logits)["sar"]
        names, state = [plugin.names[i] for i in plugin.sample()], head.state_dict()
        learned = plain_features(miniclip_backbone, trainer, names, state, features, getattr(head, "chosen", []))
        fixed, expected = hand_written(miniclip_backbone, names), 0.0
        for i in range(5):
            others = [j for j in range(5) if j != i]
            p0, p = ((t[i] @ t[others].t() / 0.2).softmax(0) for t in (fixed.double(), learned.double()))
            expected += 3.0 / 5 * (p0 * (p0 / p).log()).sum().item()
        assert found.item() == pytest.approx(expected, rel=1e-3) and found > 0
        slopes = torch.autograd.grad(found, head.parameters(), retain_graph=True, allow_unused=True)
        still = {name for (name, _), slope in zip(head.named_parameters(), slopes) if slope is None or not slope.any()}
        assert still <= {"posterior.log_variance"}  # the posterior's mean alone makes the names' features
        assert all(parameter.grad is None for parameter in plugin.trainer.backbone.parameters())
        steps.append(found.item())
        return {"sar": found}

    monkeypatch.setattr(SAR, "penalty", checked)
    options = "TRAINER.SAR.SAMPLE 5 TRAINER.SAR.W 3.0 TRAINER.SAR.TAU 0.2 OPTIM.MAX_EPOCH 1 TEST.NO_TEST True".split()
    section = known_trainers()[trainer].SECTION
    options += [] if trainer == "ProDA" else [f"TRAINER.{section}.CTX_INIT", ""]
    train.main(argv(tiny_bank, tmp_path, f"{trainer}_SAR", *options))
    assert len(steps) > 1


def test_weight_zero_is_the_method_bit_for_bit(tiny_bank, tmp_path, monkeypatch):
    """The loss of every step and the parameters."""
    plain_run = Recorded(monkeypatch, argv(tiny_bank, tmp_path / "without", "CoOp_SHIP"))
    off = "CoOp_SHIP_SAR", "TRAINER.SAR.W", "0.0"
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path / "zero", *off))
    assert run.losses == plain_run.losses and same_state(tmp_path / "zero", tmp_path / "without")
    assert results(tmp_path / "zero")["metrics"] == results(tmp_path / "without")["metrics"]
    assert "sar" not in results(tmp_path / "zero")["extra"]


# ---- where names come from

FILE = """# a comment
zebra
Grand piano
Sunflower
zebra
kibbeh
horse
"""  # "Grand piano" is trained, "Sunflower" label-only, "kibbeh" has no embedding in MiniCLIP


def sar_of(bank, out, names, *options, trainer="CoOp_SAR"):
    """What results.json would say of the further names."""
    *_, plugin = open_data(argv(bank, out, trainer, "TRAINER.SAR.NAMES", str(names), *options)).plugins
    assert plugin.further_names() == plugin.report["names"]
    return plugin.report


def test_a_file(tiny_bank, tmp_path):
    path = tmp_path / "names.txt"
    path.write_text(FILE)
    found = sar_of(tiny_bank, tmp_path / "a", path)
    assert found["reconstruction"] is True and found["names"] == ["zebra", "Sunflower", "horse"]
    assert (found["overlap"], found["without_embedding"]) == (["Sunflower"], 1)
    found = sar_of(tiny_bank, tmp_path / "b", path, "TRAINER.SAR.EXCLUDE_LABEL_ONLY", "True")
    assert found["names"] == ["zebra", "horse"] and found["overlap"] == ["Sunflower"]
    found = sar_of(tiny_bank, tmp_path / "c", path, "TRAINER.SAR.COUNT", "1")
    assert found["names"] == ["zebra"] and found["overlap"] == []
    found = sar_of(tiny_bank, tmp_path / "d", "task", trainer="CoOp_SHIP_SAR")  # trained names are no further ones
    assert (found["names"], found["overlap"]) == ([], NEW)


def test_every_other_source(tiny_bank, tmp_path, miniclip_backbone):
    words = set(token_words(miniclip_backbone).words)
    assert sar_of(tiny_bank, tmp_path / "none", "")["names"] == []
    assert sar_of(tiny_bank, tmp_path / "task", "task")["names"] == NEW
    listed = read_names(ROOT / "datasets/novel_names/caltech101.txt", KEY)
    assert sar_of(tiny_bank, tmp_path / "list", "list")["names"] == listed and len(listed) == 110
    imagenet = sar_of(tiny_bank, tmp_path / "imagenet", "imagenet")
    assert imagenet["names"][:2] == ["tench", "goldfish"] and imagenet["names"].count("missile") == 1  # it has two
    assert {"umbrella", "pizza"} <= set(imagenet["overlap"])
    near = sar_of(tiny_bank, tmp_path / "near", "vocabulary", "TRAINER.SAR.COUNT", "12")[
        "names"
    ]  # of each name in turn
    assert len(near) == 12 and set(near) <= words and {"dogs", "cats", "airplanes"} <= set(near)
    drawn = []
    for i, seed in enumerate((1, 1, 2)):
        out = tmp_path / f"random{i}"
        drawn.append(sar_of(tiny_bank, out, "random", "TRAINER.SAR.COUNT", "12", "SEED", str(seed))["names"])
    assert drawn[0] == drawn[1] != drawn[2] and {*drawn[0], *drawn[2]} <= words and len(set(drawn[0])) == 12


def test_the_lists_that_ship_are_as_their_headers_say():
    files = sorted((ROOT / "datasets/novel_names").glob("*.txt"))
    assert len(files) == 11
    for path in files:
        names = read_names(path, KEY)
        assert f"# number of names: {len(names)}\n" in path.read_text() and len({*map(plain, names)}) == len(names)
        assert (ROOT / f"configs/datasets/{path.stem}.yaml").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ("NAMES lists", "NAMES is 'lists'; it must be one of list, .*text file"),
        ("NAMES list RUN.DATASET birds", "there is none for birds; type TRAINER.SAR.NAMES FILE"),
        ("NAMES random", "NAMES is 'random'.*TRAINER.SAR.COUNT"),
    ],
)
def test_options_that_cannot_be(tiny_bank, tmp_path, options, message):
    words = options.split()
    words[::2] = [key if "." in key else f"TRAINER.SAR.{key}" for key in words[::2]]
    with pytest.raises(UserError, match=message):
        train.main(argv(tiny_bank, tmp_path, "CoOp_SAR", *words))
