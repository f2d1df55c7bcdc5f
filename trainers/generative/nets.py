"""Networks that generators of any paper are built of."""

from functools import partial
from weakref import WeakKeyDictionary

import torch.nn as nn

from ..core.model.prompts import PHOTO, encode_texts, fill

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


class ClassFeatures:
    """What a class is to a network that reads no tokens: the unit text feature of "a photo of a <name>." (paper section
    4.2.3)."""

    def __init__(self, backbone):
        # encoded once for each ClassTokens, as long as that lives
        self.backbone, self.known = backbone, WeakKeyDictionary()

    def __call__(self, classes):
        """-> [C, d] of `classes` (a ClassTokens), float32."""
        if classes not in self.known:
            self.known[classes] = encode_texts(self.backbone, fill(PHOTO, classes.names)).float()
        return self.known[classes]
