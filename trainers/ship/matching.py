"""TRAINER.SHIP.MATCH mean (ours, not the paper's): synthetic features moved to where real ones are. On base classes
both means are known:

    x~' = unit(x~ + mean of real base features - mean of synthetic base features)
"""

import os

import torch
import torch.nn.functional as F
from torch import nn

from ..core.errors import UserError
from ..core.features.bank import read_bank, write_bank
from ..core.randomness import seed_all
from ..generative.synthesis import Synthesizer

FILE = "match.safetensors"  # beside the generator


class Matched(nn.Module):
    """A generator whose features are moved by `shift` [d]."""

    def __init__(self, generator, shift):
        super().__init__()
        self.generator, self.latent_dim = generator, generator.latent_dim
        self.register_buffer("shift", shift)

    def forward(self, z, labels, classes):
        return F.normalize(self.generator(z, labels, classes) + self.shift, dim=-1)


@torch.no_grad()
def mean_difference(generator, found, classes, seed):
    """Mean of a FeatureSet of `classes`, less that of a synthetic feature for each of its images [d]."""
    seed_all(seed, "generator", "match")
    synthetic = Synthesizer(generator, classes, first_label=0).features(found.labels)
    return found.features.mean(0) - synthetic.mean(0)


def save(folder, shift):
    write_bank(os.path.join(folder, FILE), {"shift": shift.cpu()}, {})


def load(folder):
    """What a source run saved. Raises UserError where it had no MATCH."""
    path = os.path.join(folder, FILE)
    if not os.path.isfile(path):
        raise UserError(
            f"TRAINER.SHIP.MATCH mean needs real features of base classes, of which a target has none, and there is no "
            f"{FILE} in {folder}: train the source run with TRAINER.SHIP.MATCH mean as well"
        )
    return read_bank(path)[0]["shift"]
