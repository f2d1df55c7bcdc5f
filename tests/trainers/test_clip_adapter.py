"""CLIP-Adapter against the plain formulation of its paper, and through the real command line."""

import pytest
import torch
import torch.nn.functional as F
from plain import hand_written, unit
from runs import Recorded, argv, results
from tiny_data import NAMES

from trainers.clip_adapter import CLIPAdapterHead, bottleneck
from trainers.core import ZeroshotHead

WEIGHTS = ("adapter.0.weight", "adapter.2.weight")


def plain_logits(raw, down, up, text, scale):
    """The authors' way: the adapter sees the encoder's raw features [B, d]; then blend, normalise, compare."""
    adapted = ((raw @ down.t()).relu() @ up.t()).relu()
    blended = 0.2 * adapted + 0.8 * raw
    return scale * (blended / blended.norm(dim=1, keepdim=True)) @ text.t()


def make_head(backbone):
    return CLIPAdapterHead(bottleneck(backbone.embed_dim, 4), 0.2, ZeroshotHead(backbone, ["a photo of a {}."], NAMES))


def test_unit_features_equal_the_authors_raw_features(miniclip_backbone):
    torch.manual_seed(0)
    head = make_head(miniclip_backbone)
    assert [tuple(p.shape) for p in head.parameters()] == [(64, 256), (256, 64)]
    features, labels = unit(6, miniclip_backbone.embed_dim), torch.arange(6)
    raw = features * torch.tensor([0.01, 0.5, 1.0, 3.0, 10.0, 700.0])[:, None]
    logits = head(features)
    F.cross_entropy(logits, labels).backward()
    down, up = (p.detach().clone().requires_grad_() for p in head.parameters())
    text, scale = hand_written(miniclip_backbone, NAMES), miniclip_backbone.logit_scale.exp()
    expected = plain_logits(raw, down, up, text, scale)
    F.cross_entropy(expected, labels).backward()
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    for parameter, plain in zip(head.parameters(), (down, up)):
        torch.testing.assert_close(parameter.grad, plain.grad, rtol=1e-3, atol=1e-6)


def test_other_classes_share_the_adapter(miniclip_backbone):
    head, features = make_head(miniclip_backbone), unit(5, miniclip_backbone.embed_dim)
    part = head.for_classes([NAMES[4], NAMES[1]])(features)
    torch.testing.assert_close(part, head(features)[:, [4, 1]], rtol=1e-5, atol=1e-5)
    assert head.for_classes(["zebra"])(features).shape == (5, 1) and {*head.state_dict()} == {*WEIGHTS}


@pytest.mark.parametrize("trainer", ["CLIP_Adapter", "CLIP_Adapter_SHIP"])
def test_losses_equal_plain_sgd_on_the_plain_formulation(tiny_bank, tmp_path, monkeypatch, miniclip_backbone, trainer):
    """With SHIP each batch is joined by as many synthetic features of new classes."""
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, trainer, "OPTIM.LR", 0.002))
    names = run.trainer.trained_classnames
    text, scale = hand_written(miniclip_backbone, names), miniclip_backbone.logit_scale.exp()

    def plain(parameters, features, labels, _):
        return F.cross_entropy(plain_logits(features, *(parameters[name] for name in WEIGHTS), text, scale), labels)

    losses, parameters = run.plain_losses(plain)
    assert run.losses == pytest.approx(losses, rel=1e-4, abs=1e-6) and len(losses) == 6
    assert [step.rate for step in run.steps[:3]] == pytest.approx([1e-5, 1e-5, 0.002])
    for name in WEIGHTS:
        torch.testing.assert_close(run.trainer.head.state_dict()[name], parameters[name], rtol=1e-4, atol=1e-6)
    if trainer.endswith("SHIP"):
        assert len(names) == 7 and {*results(tmp_path)["metrics"]} >= {"base", "new", "all", "H"}
        for step in run.steps:
            assert len(step.labels) == 16 and (step.labels[:8] < 4).all() and (step.labels[8:] >= 4).all()
            torch.testing.assert_close(step.features.norm(dim=1), torch.ones(16), rtol=1e-3, atol=1e-3)
