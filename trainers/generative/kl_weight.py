"""The KL weight that keeps a VAE's posterior from collapsing, from the features alone (KL_WEIGHT_RULE auto).

With L = |x - x~|^2 + beta KL the decoder's variance is beta / 2. A linear VAE (probabilistic PCA; Lucas et al., NeurIPS
2019, https://arxiv.org/abs/1911.02469) uses a latent dimension only where an eigenvalue l_j of the covariance of what
it is to reconstruct exceeds beta / 2. Unit features have eigenvalues far below 1/2, so at weight 1 the posterior must
collapse.
"""

from ..core.gaussian import eigenvalues, means_of

KEPT = 0.9  # of the within-class variance, by KL_WEIGHT_RULE auto


def class_spectrum(images, classes):
    """Eigenvalues [d] of the covariance of a FeatureSet's views within `classes` classes."""
    x, labels = images.features.double(), images.labels.repeat_interleave(images.views)
    residuals = x - means_of(x, labels, classes)[labels]
    return eigenvalues(residuals.t() @ residuals / len(x))


def keeping_weight(spectrum, share=KEPT):
    """The KL weight at which the dimensions that hold `share` of the variance are just used."""
    held = spectrum.cumsum(0) / spectrum.sum()
    return 2 * spectrum[int((held < share - 1e-9).sum())].item()
