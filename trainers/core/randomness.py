"""Randomness as a pure function of (seed, purpose, epoch), so that a resumed run repeats what an uninterrupted one
would have drawn."""

import hashlib
import random

import numpy as np
import torch


def derive_seed(*parts):
    """A 32-bit seed from any printable parts; stable over processes and Python versions."""
    return int.from_bytes(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:4], "big")


def seed_all(*parts):
    """Seeds python, numpy and torch from `parts`."""
    seed = derive_seed(*parts)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class preserved_randomness:
    """Context in which random draws do not disturb the surrounding ones (python, numpy and torch's CPU generator)."""

    def __enter__(self):
        self.states = random.getstate(), np.random.get_state(), torch.get_rng_state()

    def __exit__(self, *exception):
        random.setstate(self.states[0])
        np.random.set_state(self.states[1])
        torch.set_rng_state(self.states[2])
