"""The adversarial framework around a generator, for the paper's Table 4 ("G").

The paper's part: a GAN in WGAN's form (Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875; its reference [2]), and
AdamW at 1e-3 for all networks. It gives no more, so the rest is our choice. The critic D(x, t_c) sees the class, as in
f-CLSWGAN (Xian et al., CVPR 2018): without it nothing would ask a feature to show its class. It is as wide and as deep
as the VAE's encoder. A gradient penalty keeps it Lipschitz, in place of WGAN's weight clipping (Gulrajani et al. 2017,
https://arxiv.org/abs/1704.00028), with the weight, the critic's number of updates and the betas of that paper's
Algorithm 1. The updates of the critic share a batch of real features, each with new synthetic ones; one of the
generator follows, so that it gets as many as in the VAE.
"""

import torch
import torch.nn as nn

from ..core.data import to_device
from .nets import LEAKY, adamw, class_features, descend, mlp

PENALTY_WEIGHT = 10.0
CRITIC_STEPS = 5  # for each step of the generator
BETAS = (0.0, 0.9)  # no momentum: the critic's target moves


def critic_loss(score, x, synthetic, condition, penalty_weight):
    """Wasserstein loss of a critic `score(x, condition)` -> [B] on real and synthetic features [B, d] of the same
    classes.

    -> (loss, {"distance", "penalty"}): how far it tells them apart, and its gradient from norm 1 between them.
    """
    distance = score(x, condition).mean() - score(synthetic, condition).mean()
    share = to_device(torch.rand(len(x), 1), x.device)
    between = (share * x + (1 - share) * synthetic).requires_grad_()
    (slope,) = torch.autograd.grad(score(between, condition).sum(), between, create_graph=True)
    penalty = (slope.norm(dim=1) - 1).square().mean()
    return penalty_weight * penalty - distance, {"distance": distance.detach(), "penalty": penalty.detach()}


class WGAN(nn.Module):
    """A generator and its critic D: unit feature x and class feature t_c [B, d] each -> score [B]."""

    def __init__(self, generator, backbone, hidden_dim):
        super().__init__()
        self.generator, self.class_features = generator, class_features(backbone)
        self.critic = mlp(2 * backbone.embed_dim, hidden_dim, 1, activation=LEAKY)

    def score(self, x, condition):
        return self.critic(torch.cat([x, condition], 1)).squeeze(1)

    def synthesize(self, labels, classes):
        z = torch.randn(len(labels), self.generator.latent_dim)
        return self.generator(to_device(z, classes.embedding.device), labels, classes)

    def optimizers(self, options):
        return [adamw(network, options, betas=BETAS) for network in (self.critic, self.generator)]

    def step(self, x, labels, classes, optimizers):
        """-> {"distance", "penalty"} of the critic's last update."""
        condition = self.class_features(classes)[labels]
        with torch.no_grad():
            draws = self.synthesize(labels.repeat(CRITIC_STEPS), classes).chunk(CRITIC_STEPS)
        for synthetic in draws:
            loss, terms = critic_loss(self.score, x, synthetic, condition, PENALTY_WEIGHT)
            descend(loss, optimizers[0])
        descend(-self.score(self.synthesize(labels, classes), condition).mean(), optimizers[1])
        return terms
