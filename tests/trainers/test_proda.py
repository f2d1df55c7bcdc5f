"""ProDA against the plain formulation, and through the command line."""

import pytest
import torch
import torch.nn.functional as F
from plain import plain_text_features, relative, unit
from runs import EVERY_STEP, Recorded, argv
from tiny_data import NAMES

from trainers.core.model.prompts import tokenize
from trainers.proda import ProDAHead, positions_of


def plain_weights(backbone, names, ctx, positions):
    """Classifier weights [K, C, d] of contexts [K, n, w]."""
    return torch.stack([plain_text_features(backbone, names, one, position) for one, position in zip(ctx, positions)])


def plain_upper_bound(features, labels, weights, scale):
    """-log softmax with s x.mean_i + s^2/2 x^T A_iy x, the covariances written out as diagonal d x d matrices."""
    count, classes, _ = weights.shape
    mean = weights.mean(0)

    def covariance(i, j):
        return torch.diag(((weights[:, i] - mean[i]) * (weights[:, j] - mean[j])).sum(0) / (count + 1))

    losses = []
    for x, y in zip(features, labels.tolist()):
        logits = []
        for i in range(classes):
            spread = covariance(i, i) + covariance(y, y) - covariance(i, y) - covariance(y, i)
            logits.append(scale * x @ mean[i] + scale**2 / 2 * x @ spread @ x)
        losses.append(-torch.stack(logits).log_softmax(0)[y])
    return torch.stack(losses).mean()


def plain_orthogonality(backbone, ctx):
    """Mean |cosine| over pairs of "context." without a class name, by all 77 positions."""
    count, n, _ = ctx.shape
    tokens = tokenize([" ".join(["X"] * n) + "."])
    embedded = backbone.token_embedding(tokens).expand(count, -1, -1)
    prompts = torch.cat([embedded[:, :1], ctx, embedded[:, 1 + n :]], 1)
    text = backbone.encode_prompts_plain(prompts, tokens.argmax(-1).expand(count))
    pairs = [F.cosine_similarity(text[i], text[j], dim=0).abs() for i in range(count) for j in range(count) if i != j]
    return torch.stack(pairs).mean()


@torch.no_grad()
def test_evaluation_uses_the_mean_of_all_prompts(miniclip_backbone):
    features, ctx = unit(3, miniclip_backbone.embed_dim), torch.randn(8, 4, miniclip_backbone.width) * 0.02
    head = ProDAHead(miniclip_backbone, NAMES, ctx).eval()
    mean = plain_weights(miniclip_backbone, NAMES, head.ctx, head.positions).mean(0)
    assert relative(head(features), miniclip_backbone.logit_scale.exp() * features @ mean.t()) <= 1e-5
    assert relative(head.for_classes([NAMES[4], NAMES[1]])(features), head(features)[:, [4, 1]]) <= 1e-5


def test_losses_equal_the_plain_formulation(tiny_bank, tmp_path, monkeypatch, miniclip_backbone):
    options = [*EVERY_STEP, "OPTIM.MAX_EPOCH", "1", "TRAINER.PRODA.N_PROMPT", "8"]
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, "ProDA", *options))
    names, positions, scale = run.trainer.trained_classnames, positions_of(8), miniclip_backbone.logit_scale.exp()

    def plain(parameters, features, labels, prompts):
        ctx = parameters["ctx"]
        weights = plain_weights(miniclip_backbone, names, ctx[prompts], [positions[i] for i in prompts])
        return plain_upper_bound(features, labels, weights, scale) + 0.1 * plain_orthogonality(miniclip_backbone, ctx)

    assert run.losses == pytest.approx(run.plain_losses(plain)[0], abs=2e-4) and len(run.losses) == 8
    for first in (0, 4):  # each batch of images meets every prompt once
        prompts = torch.cat([step.prompts for step in run.steps[first : first + 4]])
        assert sorted(prompts.tolist()) == list(range(8))
