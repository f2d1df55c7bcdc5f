"""The variational autoencoder around the generator (paper section 3.2, Eq. 2), and the KL weight that keeps its
posterior from collapsing.

With L = |x - x~|^2 + beta KL the decoder's variance is beta / 2. A linear VAE (probabilistic PCA; Lucas et al., NeurIPS
2019, https://arxiv.org/abs/1911.02469) uses a latent dimension only where an eigenvalue l_j of the covariance of what
it is to reconstruct exceeds beta / 2. Unit features have eigenvalues far below 1/2, so at weight 1 the posterior must
collapse. KL_WEIGHT_RULE auto takes the weight from the features alone.
"""

import torch
import torch.nn as nn

from ..core.gaussian import eigenvalues, means_of
from .nets import adamw, descend, gaussian_init

KEPT = 0.9  # of the within-class variance, by KL_WEIGHT_RULE auto


class Encoder(nn.Module):
    """E: unit feature x [B, d] -> (mu, log var) [B, k] each, through one hidden ReLU layer."""

    def __init__(self, feature_dim, hidden_dim, latent_dim):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(feature_dim, hidden_dim), nn.ReLU())
        self.mu = nn.Linear(hidden_dim, latent_dim)
        self.log_var = nn.Linear(hidden_dim, latent_dim)
        gaussian_init(self)

    def forward(self, x):
        hidden = self.hidden(x)
        return self.mu(hidden), self.log_var(hidden)


def kl_to_standard_normal(mu, log_var):
    """KL(N(mu, var) || N(0, I)), summed over the latent, averaged over the batch -> scalar."""
    return 0.5 * (mu.square() + log_var.exp() - log_var - 1).sum(1).mean()


def reconstruction_loss(x, reconstructed):
    """Squared error summed over the d dimensions, averaged over the batch -> scalar."""
    return (x - reconstructed).square().sum(1).mean()


class VAE(nn.Module):
    """Encoder and generator; `loss` is Eq. 2 with a weight on the KL term (the paper's is 1)."""

    def __init__(self, generator, feature_dim, hidden_dim, kl_weight=1.0):
        super().__init__()
        self.generator, self.kl_weight = generator, kl_weight
        self.encoder = Encoder(feature_dim, hidden_dim, generator.latent_dim)

    def optimizers(self, options):
        return [adamw(self, options)]

    def step(self, x, labels, classes, optimizers):
        loss, terms = self.loss(x, labels, classes)
        descend(loss, *optimizers)
        return terms

    def loss(self, x, labels, classes):
        """-> (loss, {"reconstruction", "kl"}) for unit features x [B, d] of classes `labels` [B]."""
        mu, log_var = self.encoder(x)
        z = mu + torch.randn_like(mu) * (0.5 * log_var).exp()
        reconstruction = reconstruction_loss(x, self.generator(z, labels, classes))
        kl = kl_to_standard_normal(mu, log_var)
        return reconstruction + self.kl_weight * kl, {"reconstruction": reconstruction.detach(), "kl": kl.detach()}


def class_spectrum(images, classes):
    """Eigenvalues [d] of the covariance of a FeatureSet's views within `classes` classes."""
    x, labels = images.features.double(), images.labels.repeat_interleave(images.views)
    residuals = x - means_of(x, labels, classes)[labels]
    return eigenvalues(residuals.t() @ residuals / len(x))


def keeping_weight(spectrum, share=KEPT):
    """The KL weight at which the dimensions that hold `share` of the variance are just used."""
    held = spectrum.cumsum(0) / spectrum.sum()
    return 2 * spectrum[int((held < share - 1e-9).sum())].item()
