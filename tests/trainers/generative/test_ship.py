"""SHIP's model against its formulas written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from plain import unit
from tiny_clip import tiny_clip
from tiny_data import NAMES

from trainers.core.data import FeatureSet
from trainers.core.gaussian import eigenvalues
from trainers.core.model.prompts import ClassTokens, tokenize
from trainers.core.model.text_encoder import in_fp32
from trainers.generative.generator import PromptGenerator
from trainers.generative.vae import VAE, class_spectrum, keeping_weight, reconstruction_loss


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
    z, labels = torch.randn(5, 6), torch.tensor([0, 3, 3, 6, 1])
    found = generator(z, labels, ClassTokens(NAMES, miniclip_backbone, n_ctx=n_ctx))
    expected = plain_features(generator, miniclip_backbone, NAMES, z, labels.tolist())
    assert ((found - expected).norm() / expected.norm()).item() <= 1e-5
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
    for ours, parameter in zip(found, vae.parameters()):
        assert ((ours - parameter.grad).norm() / parameter.grad.norm()).item() <= 1e-5


def test_initialisation_of_the_released_code(miniclip_backbone):
    torch.manual_seed(0)
    vae = VAE(PromptGenerator(miniclip_backbone, 4, 256, 512), miniclip_backbone.embed_dim, 512)
    for name, parameter in vae.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name


def gradient(tower, scale):
    """Of the reconstruction loss, times `scale`, with respect to all parameters of one fixed generator."""
    torch.manual_seed(0)
    generator = PromptGenerator(tower, 4, 16, 32)
    z, labels = torch.randn(8, 16), torch.arange(8) % 3
    features = generator(z, labels, ClassTokens(NAMES[:3], tower, n_ctx=4))
    (reconstruction_loss(unit(8, tower.embed_dim), features) * scale).backward()
    return torch.cat([p.grad.flatten() for p in generator.parameters()]) / scale


def test_gradients_through_the_copy_are_those_of_float32():
    """Where gradients are small, as late in training, half precision has no bits left for them."""
    full, half, small = tiny_clip(), tiny_clip(dtype=torch.float16), 1e-4
    exact, copied, plain = (gradient(tower, small) for tower in (full, in_fp32(half), half))
    error = [((found - exact).norm() / exact.norm()).item() for found in (copied, plain)]
    assert error[0] < 2e-3 and error[1] > 10 * error[0], error


def test_the_weight_that_keeps_a_share_of_the_variance():
    spectrum = torch.tensor([0.5, 0.3, 0.1, 0.06, 0.04], dtype=torch.float64)
    assert keeping_weight(spectrum) == pytest.approx(2 * 0.1)  # 0.5 + 0.3 + 0.1 are 90%
    assert keeping_weight(spectrum, 0.91) == pytest.approx(2 * 0.06)
    images = FeatureSet(unit(9, 16), torch.arange(10), torch.arange(9) % 3)
    x = images.features.double()
    means = torch.stack([x[images.labels == label].mean(0) for label in range(3)])
    within = (x - means[images.labels]).t() @ (x - means[images.labels]) / 9
    found = class_spectrum(images, 3)
    assert torch.allclose(found, eigenvalues(within), atol=1e-9) and found.sum() == pytest.approx(within.trace().item())
