"""Episodes (ours; the idea is OGEN's, ICLR 2024): in each step a third of the base classes plays label-only. Their rows
are not reconstructed; the generator's samples for their names shall only be distributed as their real features are.

    L = L_VAE(rows of the other classes) + energy distance(x~ ~ G(N(0, I), c), x; rows of the third)
"""

import torch

from ..core.moving import moved
from ..generative.framework import descend
from ..generative.vae import VAE

SHARE = 3  # one class in so many is label-only in a step


def energy_distance(x, y):
    """2 E|x - y| - E|x - x'| - E|y - y'| of two samples [n, d], [m, d] of 2 or more each; unbiased, so it may be below
    0 by chance."""

    def within(samples):
        # pdist, because the gradient of cdist's diagonal of zeros is not a number
        return torch.nn.functional.pdist(samples).mean()

    return 2 * torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").mean() - within(x) - within(y)


class EpisodicVAE(VAE):
    def loss(self, x, labels, classes):
        """-> (loss, {"reconstruction", "kl", "energy"}); a part without rows (the energy distance: with fewer than two)
        is 0."""
        chosen = torch.zeros(len(classes), dtype=torch.bool)
        chosen[torch.randperm(len(classes))[: len(classes) // SHARE]] = True
        apart = chosen.to(labels.device)[labels]
        zero = x.new_zeros(())
        loss, terms = zero, {"reconstruction": zero, "kl": zero}
        if not apart.all():
            loss, terms = super().loss(x[~apart], labels[~apart], classes)
        energy = zero
        if apart.sum() >= 2:
            z = moved(torch.randn(int(apart.sum()), self.generator.latent_dim), x.device)
            energy = energy_distance(self.generator(z, labels[apart], classes), x[apart])
        return loss + energy, {**terms, "energy": energy.detach()}

    def step(self, x, labels, classes, optimizers):
        loss, terms = self.loss(x, labels, classes)
        if loss.requires_grad:  # not where the only row of a batch is set apart
            descend(loss, optimizers[0])
        return terms
