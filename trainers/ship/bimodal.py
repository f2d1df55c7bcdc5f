"""A framework with a class-conditional prior (ours, not the paper's). SHIP draws z from N(0, I) for every class; where
the posterior has not collapsed, such a z says another class than the name beside it. Here z of class c is drawn from a
second encoder, which reads the class's text:

    q_v = E_v(x),  q_t = E_t(t0_c),  z_v ~ q_v,  z_t ~ q_t
    L = |x - G(z_v, c)|^2 + |x - G(z_t, c)|^2 + beta KL(q_v || q_t)
"""

import torch
from torch import nn

from ..generative.framework import Framework
from ..generative.nets import ClassFeatures
from ..generative.vae import Encoder, reconstruction_loss


def sample(mu, log_var, noise):
    return mu + noise * (0.5 * log_var).exp()


def kl_between(image, text):
    """KL(q_v || q_t) of diagonal Gaussians, each (mu, log var) [B, k]; summed over k, averaged over B -> scalar."""
    (mu, log_var), (prior_mu, prior_log_var) = image, text
    ratio = (log_var.exp() + (mu - prior_mu).square()) / prior_log_var.exp()
    return 0.5 * (prior_log_var - log_var + ratio - 1).sum(1).mean()


class ConditionalPrior(nn.Module):
    """A generator whose z comes from the class's text: noise [B, k] ~ N(0, I) -> z ~ q(z | t0_c) -> features."""

    def __init__(self, generator, encoder, class_features):
        super().__init__()
        self.generator, self.encoder, self.class_features = generator, encoder, class_features
        self.latent_dim = generator.latent_dim

    def prior(self, labels, classes):
        """(mu, log var) [B, k] each; of every class once."""
        mu, log_var = self.encoder(self.class_features(classes))
        return mu[labels], log_var[labels]

    def forward(self, noise, labels, classes):
        return self.generator(sample(*self.prior(labels, classes), noise), labels, classes)


class BimodalVAE(Framework):
    def __init__(self, generator, backbone, hidden_dim, kl_weight):
        super().__init__()
        width, latent = backbone.embed_dim, generator.latent_dim
        prior = Encoder(width, hidden_dim, latent)
        self.generator = ConditionalPrior(generator, prior, ClassFeatures(backbone))
        self.encoder, self.kl_weight = Encoder(width, hidden_dim, latent), kl_weight

    def loss(self, x, labels, classes):
        """-> (loss, {"reconstruction", "reconstruction_text", "kl"}) for unit features x [B, d]."""
        image, text = self.encoder(x), self.generator.prior(labels, classes)
        z = torch.cat([sample(*latent, torch.randn_like(latent[0])) for latent in (image, text)])
        of_image, of_text = self.generator.generator(z, labels.repeat(2), classes).chunk(2)
        errors = reconstruction_loss(x, of_image), reconstruction_loss(x, of_text)
        kl = kl_between(image, text)
        terms = {"reconstruction": errors[0].detach(), "reconstruction_text": errors[1].detach(), "kl": kl.detach()}
        return sum(errors) + self.kl_weight * kl, terms
