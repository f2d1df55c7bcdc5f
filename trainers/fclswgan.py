"""f-CLSWGAN: Feature Generating Networks for Zero-Shot Learning (Xian et al., CVPR 2018,
https://arxiv.org/abs/1712.00981).

A baseline of SHIP's Table 3: f-VAEGAN (fvaegan.py) without its VAE. A generator and a critic that see the class, and a
classification loss of the generated features by a softmax classifier P of the seen classes, which was trained on real
features before and stays as it is:

    min_G max_D  gamma L_WGAN + beta L_CLS,    L_CLS = -E[log P(y | x~)],  x~ = G(z, a)

beta is the paper's 0.01, with gamma 1. Everything else is that of f-VAEGAN here: sizes, the features' scale, rates, the
classifier at the end.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .core.data import to_device
from .fvaegan import VAEGAN, adam, f_VAEGAN
from .generative.frameworks import descend
from .plugins import register_twins

EPOCHS, BATCH, RATE = 50, 100, 1e-3  # of P, as in the authors' code


def softmax_classifier(x, labels, classes: int) -> nn.Linear:
    """P, trained on features x [N, d] of `classes` classes, labels [N]."""
    linear = nn.Linear(x.shape[1], classes).to(x.device)
    optimizer = adam(linear.parameters(), RATE)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x)).split(BATCH):
            index = to_device(index, x.device)
            descend(F.cross_entropy(linear(x[index]), labels[index]), optimizer)
    return linear.requires_grad_(False)


class CLSWGAN(VAEGAN):
    """Generator, critic and P on scaled features x [B, d] and attributes a [B, d] of their classes."""

    def __init__(self, backbone, options, train_set):
        super().__init__(backbone, options, train_set)
        del self.encoder
        labels = train_set.labels.repeat_interleave(train_set.views)
        scaled = self.generator.scale(train_set.features)
        self.classifier = softmax_classifier(scaled, labels, int(labels.max()) + 1)

    def optimizers(self, options):
        return [adam(network.parameters(), options.LR) for network in (self.critic, self.generator)]

    def generator_loss(self, x, attributes, labels):
        """beta L_CLS - gamma E[D(x~, a)] -> (loss, {"classification"}, the synthetic x~ [B, d])."""
        synthetic = self.generator.scaled(torch.randn_like(x), attributes)
        classification = F.cross_entropy(self.classifier(synthetic), to_device(labels, x.device))
        fooled = self.score(synthetic, attributes).mean()
        loss = self.options.CLS_WEIGHT * classification - self.options.GAN_WEIGHT * fooled
        return loss, {"classification": classification.detach()}, synthetic


@register_twins
class f_CLSWGAN(f_VAEGAN):
    SECTION = "F_CLSWGAN"
    OPTIONS = {"GAN_WEIGHT": 1.0, "CLS_WEIGHT": 0.01}  # gamma, beta
    FRAMEWORK = CLSWGAN
