"""The variational autoencoder around the generator (paper section 3.2, Eq. 2)."""

import torch
import torch.nn as nn

from .framework import Framework
from .nets import gaussian_init


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


class VAE(Framework):
    """Encoder and generator; `loss` is Eq. 2 with a weight on the KL term (the paper's is 1)."""

    def __init__(self, generator, feature_dim, hidden_dim, kl_weight=1.0):
        super().__init__()
        self.generator, self.kl_weight = generator, kl_weight
        self.encoder = Encoder(feature_dim, hidden_dim, generator.latent_dim)

    def loss(self, x, labels, classes):
        """-> (loss, {"reconstruction", "kl"}) for unit features x [B, d] of classes `labels` [B]."""
        mu, log_var = self.encoder(x)
        z = mu + torch.randn_like(mu) * (0.5 * log_var).exp()
        reconstruction = reconstruction_loss(x, self.generator(z, labels, classes))
        kl = kl_to_standard_normal(mu, log_var)
        return reconstruction + self.kl_weight * kl, {"reconstruction": reconstruction.detach(), "kl": kl.detach()}
