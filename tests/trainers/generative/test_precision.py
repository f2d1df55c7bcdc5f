"""The generator trains through a text tower in float32, whatever the precision of the run: half precision without loss
scaling spoils its gradients."""

import torch
from plain import unit
from tiny_clip import tiny_clip
from tiny_data import NAMES

from trainers.core.model.prompts import ClassTokens
from trainers.core.model.text_encoder import in_fp32
from trainers.generative.generator import PromptGenerator
from trainers.generative.vae import reconstruction_loss


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
