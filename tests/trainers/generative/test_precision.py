"""The generator trains through a text tower in float32, whatever the precision of the run: half precision without loss
scaling spoils its gradients."""

import torch
from plain import unit
from runs import ship_options
from tiny_clip import tiny_clip
from tiny_data import NAMES

from trainers.core.model.prompts import ClassTokens
from trainers.core.model.text_encoder import in_fp32
from trainers.generative.build import build_framework
from trainers.generative.generator import PromptGenerator
from trainers.generative.vae import reconstruction_loss


def test_a_half_precision_run_has_its_generator_on_a_float32_tower():
    half = tiny_clip(dtype=torch.float16)
    framework = build_framework(ship_options(HIDDEN_DIM=12, LATENT_DIM=6), half)
    tower = framework.generator.backbone[0]
    assert tower.dtype == torch.float32 and half.dtype == torch.float16
    assert tower.weights_hash == half.weights_hash and not hasattr(tower, "visual")
    assert not any(p.requires_grad for p in tower.parameters())
    classes = ClassTokens(NAMES[:3], tower, n_ctx=4)
    loss, _ = framework.loss(unit(4, 32), torch.tensor([0, 1, 2, 0]), classes)
    loss.backward()
    assert all(p.grad.dtype == torch.float32 for p in framework.parameters())


def gradient(tower, scale=1.0):
    """Of the reconstruction loss, times `scale`, with respect to all parameters of one fixed generator."""
    torch.manual_seed(0)
    generator = PromptGenerator(tower, 4, 16, 32)
    z, labels = torch.randn(8, 16), torch.arange(8) % 3
    x = unit(8, tower.embed_dim)
    features = generator(z, labels, ClassTokens(NAMES[:3], tower, n_ctx=4))
    (reconstruction_loss(x, features) * scale).backward()
    return torch.cat([p.grad.flatten() for p in generator.parameters()]) / scale


def test_gradients_through_the_copy_are_those_of_float32():
    """Where gradients are small, as late in training, half precision has no bits left for them."""
    full, half, small = tiny_clip(), tiny_clip(dtype=torch.float16), 1e-4
    exact, copied, plain = (gradient(tower, small) for tower in (full, in_fp32(half), half))
    error = [((found - exact).norm() / exact.norm()).item() for found in (copied, plain)]
    assert error[0] < 2e-3 and error[1] > 10 * error[0], error
