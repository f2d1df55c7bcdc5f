"""Generators and their losses against their formulas written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from plain import hand_written, relative, unit
from tiny_clip import tiny_clip
from tiny_data import NAMES

from trainers.core.data import FeatureSet
from trainers.core.gaussian import shrunk_covariance
from trainers.core.model.prompts import ClassTokens, tokenize
from trainers.core.model.text_encoder import in_fp32
from trainers.generative.frameworks import PENALTY_WEIGHT, VAE, WGAN, critic_loss, keeping_weight
from trainers.generative.generator import FeatureGenerator, GaussianGenerator, PromptGenerator, ShiftGenerator

TEMPLATE = "a sketch of a {}."
LABELS = torch.tensor([0, 3, 3, 6, 1])


def close(found, expected):
    return relative(found, expected) <= 1e-5


# ---- SHIP's: through prompts, with a VAE


def plain_features(generator, backbone, names, z, labels):
    """Eq. 3 and 4 with every token written out, through all 77 positions of the backbone's own tower."""
    first, last = generator.bias[0], generator.bias[2]
    r = torch.relu(z @ first.weight.t() + first.bias) @ last.weight.t() + last.bias
    r = r.view(len(z), -1, backbone.width).expand(-1, generator.n_ctx, -1)
    p = r if generator.prompts is None else generator.prompts[None] + r
    tokens = tokenize([" ".join(["X"] * generator.n_ctx) + f" {names[label].replace('_', ' ')}." for label in labels])
    embedded = backbone.token_embedding(tokens)
    prompts = torch.cat([embedded[:, :1], p, embedded[:, 1 + generator.n_ctx :]], 1)
    return F.normalize(backbone.encode_prompts_plain(prompts, tokens.argmax(-1)), dim=-1)


@pytest.mark.parametrize("n_ctx, use_global, sequential", [(1, True, False), (4, True, True), (4, False, False)])
def test_the_generator_is_equation_3_and_4(miniclip_backbone, n_ctx, use_global, sequential):
    torch.manual_seed(0)
    generator = PromptGenerator(miniclip_backbone, n_ctx, 6, 10, use_global, sequential)
    z = torch.randn(5, 6)
    found = generator(z, LABELS, ClassTokens(NAMES, miniclip_backbone, n_ctx=n_ctx))
    assert close(found, plain_features(generator, miniclip_backbone, NAMES, z, LABELS.tolist()))
    assert torch.allclose(found.norm(dim=-1), torch.ones(5), atol=1e-5)


def test_the_loss_is_equation_2(miniclip_backbone):
    """The VAE's loss and its gradients on a tiny example, from the formulas alone."""
    torch.manual_seed(0)
    vae = VAE(PromptGenerator(miniclip_backbone, 4, 6, 10), miniclip_backbone.embed_dim, 10, kl_weight=0.5)
    for p in vae.parameters():  # away from the tiny initial values, so that every term matters
        torch.nn.init.normal_(p, std=0.1)
    x, labels = F.normalize(torch.randn(3, miniclip_backbone.embed_dim), dim=-1), torch.tensor([2, 0, 5])
    torch.manual_seed(1)
    loss, terms = vae.loss(x, labels, ClassTokens(NAMES, miniclip_backbone, n_ctx=4))
    loss.backward()
    found = [p.grad.clone() for p in vae.parameters()]
    vae.zero_grad()

    torch.manual_seed(1)
    e = vae.encoder
    h = torch.relu(x @ e.hidden[0].weight.t() + e.hidden[0].bias)
    mu, log_var = h @ e.mu.weight.t() + e.mu.bias, h @ e.log_var.weight.t() + e.log_var.bias
    z = mu + torch.exp(log_var / 2) * torch.randn(3, 6)
    y = plain_features(vae.generator, miniclip_backbone, NAMES, z, labels.tolist())
    squares = sum(((x[i] - y[i]) ** 2).sum() for i in range(3)) / 3
    divergence = sum(0.5 * (mu[i] ** 2 + torch.exp(log_var[i]) - log_var[i] - 1).sum() for i in range(3)) / 3
    (squares + 0.5 * divergence).backward()
    assert loss.item() == pytest.approx((squares + 0.5 * divergence).item(), rel=1e-5)
    assert terms == pytest.approx({"reconstruction": squares.item(), "kl": divergence.item()}, rel=1e-5)
    assert all(close(ours, p.grad) for ours, p in zip(found, vae.parameters(), strict=True))


def test_half_a_tower_is_copied_in_float32():
    """Where gradients are small, as late in training, half precision has no bits left for them."""
    half = tiny_clip(dtype=torch.float16)
    assert half.dtype == torch.float16 and in_fp32(half).dtype == torch.float32


def test_the_weight_that_keeps_a_share_of_the_variance():
    """Two classes of ten images each, +-a along each axis around its mean: the variance there is a^2 / 5."""
    squares = torch.tensor([0.5, 0.3, 0.1, 0.06, 0.04], dtype=torch.float64)
    around = torch.cat([squares.sqrt().diag(), -squares.sqrt().diag()])
    images = FeatureSet(torch.cat([around + 7, around - 3]), torch.arange(21), torch.arange(20) // 10)
    assert keeping_weight(images, 2) == pytest.approx(2 * 0.1 / 5)  # 0.5 + 0.3 + 0.1 are 90%
    assert keeping_weight(images, 2, 0.91) == pytest.approx(2 * 0.06 / 5)


# ---- of Table 4: from scratch, and a critic


def test_the_scratch_generator_by_hand(miniclip_backbone):
    """unit(W3 relu(W2 relu(W1 [z; t_c] + b1) + b2) + b3)."""
    torch.manual_seed(0)
    made = FeatureGenerator(miniclip_backbone, 6, 12)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    z = torch.randn(5, 6)
    x = torch.cat([z, hand_written(miniclip_backbone, [NAMES[i] for i in LABELS])], 1)
    first, second, third = (made.layers[i] for i in (0, 2, 4))
    x = torch.relu(x @ first.weight.t() + first.bias)
    x = torch.relu(x @ second.weight.t() + second.bias)
    expected = F.normalize(x @ third.weight.t() + third.bias, dim=-1)
    assert len(made.layers) == 5 and first.out_features == second.out_features == 12
    assert close(made(z, LABELS, ClassTokens(NAMES, miniclip_backbone)), expected)


def test_the_critic_by_hand(miniclip_backbone):
    """Its loss and gradients on a tiny example; the slope of a two-layer critic is written out, not differentiated."""
    torch.manual_seed(0)
    gan = WGAN(FeatureGenerator(miniclip_backbone, 6, 12), miniclip_backbone, 12)
    for parameter in gan.critic.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    d = miniclip_backbone.embed_dim
    x, synthetic, condition = (F.normalize(torch.randn(4, d), dim=-1) for _ in range(3))
    torch.manual_seed(1)
    loss, terms = critic_loss(gan.score, x, synthetic, condition, PENALTY_WEIGHT)
    loss.backward()
    found = [p.grad.clone() for p in gan.critic.parameters()]
    gan.zero_grad()

    first, _, last = gan.critic

    def hidden(features):
        return torch.cat([features, condition], 1) @ first.weight.t() + first.bias

    def score(features):
        h = hidden(features)
        return torch.where(h > 0, h, 0.2 * h) @ last.weight[0] + last.bias

    torch.manual_seed(1)
    share = torch.rand(4, 1)
    between = share * x + (1 - share) * synthetic
    slope = (torch.where(hidden(between) > 0, 1.0, 0.2) * last.weight[0]) @ first.weight[:, :d]
    penalty = sum((slope[i].square().sum().sqrt() - 1) ** 2 for i in range(4)) / 4
    distance = sum(score(x) - score(synthetic)) / 4
    expected = PENALTY_WEIGHT * penalty - distance
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms == pytest.approx({"distance": distance.item(), "penalty": penalty.item()}, rel=1e-5)
    assert found[-1].abs().max() < 1e-6  # D's last bias cancels out
    assert all(close(ours, p.grad) for ours, p in zip(found[:-1], list(gan.critic.parameters())[:-1], strict=True))


# ---- without training


def fitted(kind, backbone):
    """-> (a generator of eight images in three classes, two views each; their FeatureSet, their means over views, and
    the means of the classes)"""
    found = FeatureSet(unit(16, 256), torch.arange(0, 17, 2), torch.arange(8) % 3)
    images = F.normalize(found.features.view(8, 2, -1).sum(1), dim=-1)
    means = torch.stack([images[found.labels == label].mean(0) for label in range(3)])
    tensors = kind.fitted(found, hand_written(backbone, NAMES[:3], TEMPLATE))
    return kind(backbone, [TEMPLATE], tensors), found, images, means


def test_shift_by_hand(miniclip_backbone):
    made, found, _, means = fitted(ShiftGenerator, miniclip_backbone)
    offset = means.mean(0) - hand_written(miniclip_backbone, NAMES[:3], TEMPLATE).mean(0)
    z = torch.tensor([[-9.0], [-0.05], [0.05], [9.0]])  # of 16 views the first, the 8th, the 9th, the last
    x = made(z, torch.tensor([0, 1, 1, 0]), ClassTokens(NAMES[3:5], miniclip_backbone))
    centres = F.normalize(hand_written(miniclip_backbone, NAMES[3:5], TEMPLATE) + offset, dim=-1)
    for row, (label, view) in zip(x, [(0, 0), (1, 7), (1, 8), (0, 15)]):
        residual = found.features[view] - means[found.labels[view // 2]]
        assert torch.allclose(row, F.normalize(centres[label] + residual, dim=0), atol=1e-5)


def test_gaussian_by_hand(miniclip_backbone):
    made, found, images, means = fitted(GaussianGenerator, miniclip_backbone)
    covariance = shrunk_covariance(images - means[found.labels])
    assert torch.allclose(made.factor.double() @ made.factor.double().t(), covariance, atol=1e-6)
    z, labels = torch.randn(2, made.latent_dim), torch.tensor([1, 0])
    text = hand_written(miniclip_backbone, NAMES[3:5], TEMPLATE)
    centres = (images.sum(0) + 16 * text) / (8 + 16)  # fewer than 64 images: all of them
    expected = F.normalize(centres[labels] + (made.factor @ z.t()).t(), dim=-1)
    assert torch.allclose(made(z, labels, ClassTokens(NAMES[3:5], miniclip_backbone)), expected, atol=1e-5)
