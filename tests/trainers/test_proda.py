"""ProDA against the plain formulation, and through the command line."""

import pytest
import torch
import torch.nn.functional as F
from plain import plain_text_features, relative, unit
from runs import EVERY_STEP, Recorded, argv
from tiny_data import NAMES

from trainers.core.model.prompts import tokenize
from trainers.proda import ProDAHead, WithPromptBatches, positions_of, upper_bound_logits


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


@pytest.fixture
def head(miniclip_backbone):
    torch.manual_seed(0)
    return ProDAHead(miniclip_backbone, NAMES, torch.randn(8, 4, miniclip_backbone.width) * 0.02)


def test_weights_orthogonality_and_gradients_equal_the_plain_formulation(head, miniclip_backbone):
    weights, orthogonality = head.weights(head.tokens, [7, 0, 2]), head.semantic_orthogonality()
    (weights.sum() + orthogonality).backward()
    ctx = head.ctx.detach().clone().requires_grad_()
    reference = plain_weights(miniclip_backbone, NAMES, ctx[[7, 0, 2]], ["end", "front", "middle"])
    plain = plain_orthogonality(miniclip_backbone, ctx)
    (reference.sum() + plain).backward()
    assert relative(weights, reference) <= 1e-5 and orthogonality.item() == pytest.approx(plain.item(), rel=1e-5)
    assert relative(head.ctx.grad, ctx.grad) <= 1e-5


def test_upper_bound_equals_its_formula_and_bounds_the_expected_loss():
    torch.manual_seed(0)
    features, labels = F.normalize(torch.randn(5, 6, dtype=torch.double), dim=-1), torch.tensor([0, 2, 1, 3, 3])
    weights = torch.randn(4, 1, 6, dtype=torch.double) + 0.3 * torch.randn(4, 4, 6, dtype=torch.double)
    weights = F.normalize(weights, dim=-1)
    bound = F.cross_entropy(upper_bound_logits(features, labels, weights, 12.0), labels)
    assert bound.item() == pytest.approx(plain_upper_bound(features, labels, weights, 12.0).item())
    # the expected loss under the Gaussian with that mean and covariance (independent dimensions, classes correlated)
    mean = weights.mean(0)
    factor = (weights - mean) / (len(weights) + 1) ** 0.5
    noise = torch.randn(20000, len(weights), 6, dtype=torch.double)
    drawn = mean + torch.einsum("kci,ski->sci", factor, noise)  # noise of its own for each dimension
    logits = 12.0 * torch.einsum("ni,sci->snc", features, drawn)
    expected = F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(drawn))).item()
    at_the_mean = F.cross_entropy(12.0 * features @ mean.t(), labels).item()
    assert at_the_mean < expected <= bound.item()


def test_evaluation_uses_the_mean_of_all_prompts(head, miniclip_backbone):
    features = unit(3, miniclip_backbone.embed_dim)
    head.eval()
    with torch.no_grad():
        mean = plain_weights(miniclip_backbone, NAMES, head.ctx, head.positions).mean(0)
        assert relative(head(features), miniclip_backbone.logit_scale.exp() * features @ mean.t()) <= 1e-5
        assert relative(head.for_classes([NAMES[4], NAMES[1]])(features), head(features)[:, [4, 1]]) <= 1e-5
        head.train()
        head.ctx.add_(0.02)
        before = head(features)
        assert torch.equal(before, head.eval()(features))


def test_each_batch_of_images_meets_every_prompt_once():
    batches = list(WithPromptBatches([{"label": 0}, {"label": 1}], 8, 2))
    assert len(batches) == len(WithPromptBatches([0, 0], 8, 2)) == 8
    for label in (0, 1):
        prompts = [batch["prompts"] for batch in batches if batch["label"] == label]
        assert all(len(part) == 2 for part in prompts) and sorted(torch.cat(prompts).tolist()) == list(range(8))


def test_losses_equal_the_plain_formulation(tiny_bank, tmp_path, monkeypatch, miniclip_backbone):
    options = [*EVERY_STEP, "OPTIM.MAX_EPOCH", "1", "TRAINER.PRODA.N_PROMPT", "8"]
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, "ProDA", *options))
    names, positions, scale = run.trainer.trained_classnames, positions_of(8), miniclip_backbone.logit_scale.exp()

    def plain(parameters, features, labels, prompts):
        ctx = parameters["ctx"]
        weights = plain_weights(miniclip_backbone, names, ctx[prompts], [positions[i] for i in prompts])
        return plain_upper_bound(features, labels, weights, scale) + 0.1 * plain_orthogonality(miniclip_backbone, ctx)

    assert run.losses == pytest.approx(run.plain_losses(plain)[0], abs=2e-4) and len(run.losses) == 8
