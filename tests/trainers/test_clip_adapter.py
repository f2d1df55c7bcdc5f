"""CLIP-Adapter against the plain formulation of its paper, and through the real command line."""

import pytest
import torch
import torch.nn.functional as F
from dassl.utils import UserError
from runs import Recorder, argv, results, train_killed_before_epoch
from tiny_data import NAMES

import train
from trainers.clip_adapter import CLIPAdapterHead, bottleneck
from trainers.core import ZeroshotHead
from trainers.core.model.prompts import tokenize

PROMPT = "a photo of a {}."


def plain_text_features(backbone, names):
    tokens = tokenize([PROMPT.format(name.replace("_", " ")) for name in names])
    return F.normalize(backbone.encode_text_plain(tokens).detach(), dim=-1)


def plain_logits(raw, down, up, text, scale):
    """The authors' way: the adapter sees the encoder's raw features [B, d]; then blend, normalise, compare."""
    adapted = ((raw @ down.t()).relu() @ up.t()).relu()
    blended = 0.2 * adapted + 0.8 * raw
    return scale * (blended / blended.norm(dim=1, keepdim=True)) @ text.t()


def make_head(backbone):
    return CLIPAdapterHead(bottleneck(backbone.embed_dim, 4), 0.2, ZeroshotHead(backbone, [PROMPT], NAMES))


def test_unit_features_equal_the_authors_raw_features(miniclip_backbone):
    torch.manual_seed(0)
    head = make_head(miniclip_backbone)
    assert [tuple(p.shape) for p in head.parameters()] == [(64, 256), (256, 64)]
    unit = F.normalize(torch.randn(6, miniclip_backbone.embed_dim), dim=-1)
    raw = unit * torch.tensor([0.01, 0.5, 1.0, 3.0, 10.0, 700.0])[:, None]
    labels = torch.arange(6)
    logits = head(unit)
    F.cross_entropy(logits, labels).backward()
    down, up = (p.detach().clone().requires_grad_() for p in head.parameters())
    expected = plain_logits(
        raw, down, up, plain_text_features(miniclip_backbone, NAMES), miniclip_backbone.logit_scale.exp()
    )
    F.cross_entropy(expected, labels).backward()
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    for parameter, plain in zip(head.parameters(), (down, up)):
        torch.testing.assert_close(parameter.grad, plain.grad, rtol=1e-3, atol=1e-6)


def test_other_classes_share_the_adapter(miniclip_backbone):
    head = make_head(miniclip_backbone)
    features = F.normalize(torch.randn(5, miniclip_backbone.embed_dim), dim=-1)
    torch.testing.assert_close(
        head.for_classes([NAMES[4], NAMES[1]])(features), head(features)[:, [4, 1]], rtol=1e-5, atol=1e-5
    )
    assert head.for_classes(["zebra"])(features).shape == (5, 1)
    assert set(head.state_dict()) == {"adapter.0.weight", "adapter.2.weight"}


@pytest.mark.parametrize("trainer", ["CLIP_Adapter", "CLIP_Adapter_SHIP"])
def test_losses_of_a_run_equal_plain_sgd_on_the_plain_formulation(
    tiny_bank, tmp_path, monkeypatch, miniclip_backbone, trainer
):
    seen = Recorder(monkeypatch)
    train.main(argv(tiny_bank, tmp_path, trainer, "OPTIM.LR", 0.002))
    names = seen.trainer.trained_classnames
    assert len(names) == (7 if trainer.endswith("SHIP") else 4) and len(seen.losses) == 6
    down, up = (seen.initial[f"adapter.{i}.weight"].requires_grad_() for i in (0, 2))
    text, scale = plain_text_features(miniclip_backbone, names), miniclip_backbone.logit_scale.exp()
    optimizer = torch.optim.SGD([down, up], lr=0.002, momentum=0.9, weight_decay=5e-4)
    for (features, labels), loss, rate in zip(seen.batches, seen.losses, seen.rates):
        optimizer.param_groups[0]["lr"] = rate
        expected = F.cross_entropy(plain_logits(features, down, up, text, scale), labels)
        assert loss == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
    assert seen.rates[:3] == pytest.approx([1e-5, 1e-5, 0.002])
    for name, plain in (("adapter.0.weight", down), ("adapter.2.weight", up)):
        torch.testing.assert_close(seen.trainer.head.state_dict()[name], plain, rtol=1e-4, atol=1e-6)


def test_ship_joins_each_batch_with_as_many_synthetic_features_of_new_classes(tiny_bank, tmp_path, monkeypatch):
    seen = Recorder(monkeypatch)
    train.main(argv(tiny_bank, tmp_path, "CLIP_Adapter_SHIP"))
    for features, labels in seen.batches:
        assert len(features) == 16 and bool((labels[:8] < 4).all()) and bool((labels[8:] >= 4).all())
        torch.testing.assert_close(features.norm(dim=1), torch.ones(16), rtol=1e-3, atol=1e-3)
    assert set(results(tmp_path)["metrics"]) >= {"base", "new", "all", "H"}


@pytest.mark.parametrize("trainer", ["CLIP_Adapter", "CLIP_Adapter_SHIP"])
def test_a_killed_run_ends_like_one_left_alone(tiny_bank, tmp_path, monkeypatch, trainer):
    train.main(argv(tiny_bank, tmp_path / "whole", trainer))
    train_killed_before_epoch(monkeypatch, 2, argv(tiny_bank, tmp_path / "cut", trainer))
    assert not (tmp_path / "cut/results.json").exists()
    train.main(argv(tiny_bank, tmp_path / "cut", trainer))
    one, two = (
        torch.load(tmp_path / run / "clip_adapter/model.pth.tar-3", weights_only=True)["state_dict"]
        for run in ("whole", "cut")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert results(tmp_path / "whole")["metrics"] == results(tmp_path / "cut")["metrics"]


@pytest.mark.parametrize(
    "options, words",
    [
        (["TRAINER.CLIP_ADAPTER.RATIO", "1.5"], "RATIO is 1.5; it is the adapter's share, from 0 to 1"),
        (["TRAINER.CLIP_ADAPTER.REDUCTION", "0"], "REDUCTION is 0; it must be from 1 to 256"),
        (["TRAINER.CLIP_ADAPTER.PREC", "fp16"], "TRAINER.CLIP_ADAPTER.PREC fp16 needs a GPU"),
        (["DATASET.TEMPLATE", "no name"], "{}"),
    ],
)
def test_bad_options_are_answered_in_words(tiny_bank, tmp_path, options, words):
    with pytest.raises(UserError) as error:
        train.main(argv(tiny_bank, tmp_path, "CLIP_Adapter", *options))
    assert words in str(error.value)
