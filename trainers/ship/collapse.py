"""When does a VAE's posterior collapse, and which KL weight keeps it? Predicted from the features alone.

With L = |x - x~|^2 + beta KL the decoder's variance is beta / 2. A linear VAE (probabilistic PCA; Lucas et al., NeurIPS
2019, https://arxiv.org/abs/1911.02469) uses a latent dimension only where an eigenvalue l_j of the covariance of what
the class's name leaves open exceeds beta / 2. Then

    KL    = sum_j log(2 l_j / beta) / 2              over the used dimensions
    error = sum of the other l_j + beta / 2 for each used one

What the name leaves open is taken as r = x - a t0_c, with t0_c the text feature and a the best multiple of it: our
choice, made after seeing a measurement. SHIP's generator is no linear one, so each run states the measured KL beside.
"""

from ..core.features.statistics import eigenvalues, means_of

KEPT = 0.9  # of the within-class variance, by KL_WEIGHT_RULE auto


def _rows(found):
    """The views of a FeatureSet -> (features [R, d] in double precision, labels [R])."""
    return found.features.double(), found.labels.repeat_interleave(found.views)


def name_spectrum(found, texts):
    """Eigenvalues [d] of E[r r^T] of a FeatureSet, t0 [C, d] being its classes' text features."""
    x, labels = _rows(found)
    texts = texts.to(x)[labels]
    residuals = x - (x * texts).sum(1).mean() * texts
    return eigenvalues(residuals.t() @ residuals / len(x))


def class_spectrum(found, classes):
    """Eigenvalues [d] of the covariance within `classes` classes."""
    x, labels = _rows(found)
    residuals = x - means_of(x, labels, classes)[labels]
    return eigenvalues(residuals.t() @ residuals / len(x))


def predicted(spectrum, weight):
    """-> (KL, squared error) of a linear VAE of the KL weight `weight` > 0."""
    used = spectrum > weight / 2
    kl = 0.5 * (2 * spectrum[used] / weight).log().sum()
    return kl.item(), (spectrum[~used].sum() + used.sum() * weight / 2).item()


def critical_weight(spectrum):
    """From this KL weight on no dimension is used: the posterior is the prior."""
    return 2 * spectrum[0].item()


def keeping_weight(spectrum, share=KEPT):
    """The KL weight at which the dimensions that hold `share` of the variance are just used."""
    held = spectrum.cumsum(0) / spectrum.sum()
    return 2 * spectrum[int((held < share - 1e-9).sum())].item()


def report(measured, found, texts, weight):
    """What results.json says beside the `measured` terms, with a line of both."""
    spectrum = name_spectrum(found, texts)
    critical, (kl, error) = critical_weight(spectrum), predicted(spectrum, weight)
    print(
        f"generator: KL weight {weight:.4g}, critical {critical:.3g}; a linear VAE has KL {kl:.3g} (measured "
        f"{measured['kl']:.3g}) and squared error {error:.3g} (measured {measured['reconstruction']:.3g})"
    )
    return {
        "kl_weight": weight,
        "kl_weight_critical": critical,
        "kl_predicted": kl,
        "reconstruction_predicted": error,
    }
