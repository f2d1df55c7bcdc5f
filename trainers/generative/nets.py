"""Networks that generators of any paper are built of, and a step of their optimisers."""

from functools import lru_cache, partial

import torch
import torch.nn as nn

from ..core.model.prompts import PHOTO, encode_classes

LEAKY = partial(nn.LeakyReLU, 0.2)  # of critics, and of all networks of f-VAEGAN and its successor
INIT_STD = 0.02  # of linear layers and global prompts (released code; the paper says Gaussian noise)


def gaussian_init(module):
    """N(0, 0.02) weights and zero biases for every linear layer of `module` (released code)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=INIT_STD)
            nn.init.zeros_(layer.bias)
    return module


def mlp(*widths, activation=nn.ReLU):
    """A linear layer from each width to the next, activations between them."""
    stack = [part for pair in zip(widths, widths[1:]) for part in (nn.Linear(*pair), activation())]
    return gaussian_init(nn.Sequential(*stack[:-1]))


def class_features(backbone, templates=(PHOTO,)):
    """What a class is to a network that reads no tokens: a function from ClassTokens to unit text features [C, d] under
    hand-written prompts (paper section 4.2.3), float32. It encodes each ClassTokens once."""
    return lru_cache(maxsize=4)(lambda classes: encode_classes(backbone, templates, classes.names))


def adamw(module, options, **more):
    """The optimiser of all networks of the paper (section 4.1) for the parameters of `module`."""
    # fused: one pass over the parameters, a tenth of the time on a CPU
    return torch.optim.AdamW(module.parameters(), lr=options.LR, weight_decay=options.WEIGHT_DECAY, fused=True, **more)


def descend(loss, *optimizers):
    """One step of each optimiser down the gradient of `loss`; whether it is finite is seen when the epoch ends."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
