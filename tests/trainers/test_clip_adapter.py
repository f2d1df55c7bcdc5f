"""CLIP-Adapter against the plain formulation of its paper, and through the real command line."""

import pytest
import torch
import torch.nn.functional as F
from plain import hand_written, unit
from runs import Recorded, argv, results
from tiny_data import NAMES
from torch import nn

from trainers.clip_adapter import CLIPAdapterHead
from trainers.core import ZeroshotHead

WEIGHTS = ("adapter.0.weight", "adapter.2.weight")


def plain_logits(raw, down, up, text, scale):
    """The authors' way: the adapter sees the encoder's raw features [B, d]; then blend, normalise, compare."""
    adapted = ((raw @ down.t()).relu() @ up.t()).relu()
    blended = 0.2 * adapted + 0.8 * raw
    return scale * (blended / blended.norm(dim=1, keepdim=True)) @ text.t()


@torch.no_grad()
def test_unit_features_equal_the_authors_raw_features(miniclip_backbone):
    torch.manual_seed(0)
    width, zero_shot = miniclip_backbone.embed_dim, ZeroshotHead(miniclip_backbone, ["a photo of a {}."], NAMES)
    down, up = nn.Linear(width, width // 4, bias=False), nn.Linear(width // 4, width, bias=False)
    head, features = CLIPAdapterHead(nn.Sequential(down, nn.ReLU(), up, nn.ReLU()), 0.2, zero_shot), unit(6, width)
    raw = features * torch.tensor([0.01, 0.5, 1.0, 3.0, 10.0, 700.0])[:, None]
    text, scale = hand_written(miniclip_backbone, NAMES), miniclip_backbone.logit_scale.exp()
    expected = plain_logits(raw, *head.parameters(), text, scale)
    torch.testing.assert_close(head(features), expected, rtol=1e-4, atol=1e-4)
    part = head.for_classes([NAMES[4], NAMES[1]])(features)
    torch.testing.assert_close(part, expected[:, [4, 1]], rtol=1e-4, atol=1e-4)


def test_losses_equal_plain_sgd_on_the_plain_formulation(tiny_bank, tmp_path, monkeypatch, miniclip_backbone):
    """Each batch is joined by as many synthetic features of new classes."""
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, "CLIP_Adapter_SHIP", "OPTIM.LR", 0.002))
    text, scale = hand_written(miniclip_backbone, NAMES), miniclip_backbone.logit_scale.exp()

    def plain(parameters, features, labels, _):
        return F.cross_entropy(plain_logits(features, *(parameters[name] for name in WEIGHTS), text, scale), labels)

    losses, parameters = run.plain_losses(plain)
    assert run.losses == pytest.approx(losses, rel=1e-4, abs=1e-6) and len(losses) == 6
    assert [step.rate for step in run.steps[:3]] == pytest.approx([1e-5, 1e-5, 0.002])
    assert {*run.trainer.head.state_dict()} == {*WEIGHTS} and run.trainer.trained_classnames == NAMES
    for name in WEIGHTS:
        torch.testing.assert_close(run.trainer.head.state_dict()[name], parameters[name], rtol=1e-4, atol=1e-6)
    for step in run.steps:
        assert len(step.labels) == 16 and (step.labels[:8] < 4).all() and (step.labels[8:] >= 4).all()
        torch.testing.assert_close(step.features.norm(dim=1), torch.ones(16), rtol=1e-3, atol=1e-3)
    assert {*results(tmp_path)["metrics"]} >= {"base", "new", "all", "H"}
