"""Means and covariances of features by class: what needs no training."""

import torch
from torch import Tensor

# How the mean of a class that has only a name is made up, as in the code of Wang et al. (ICLR 2024): the features
# nearest to its text, and so many copies of the text itself.
NEIGHBOURS, TEXTS = 64, 16


def sums_of(features: Tensor, labels: Tensor, count: int) -> Tensor:
    """Sum of the features [N, d] of each class [count, d]."""
    return features.new_zeros(count, features.shape[1]).index_add_(0, labels, features)


def means_of(features: Tensor, labels: Tensor, count: int) -> Tensor:
    """Mean feature of each class [count, d] of features [N, d]; not of unit norm."""
    return sums_of(features, labels, count) / labels.bincount(minlength=count).clamp(min=1).unsqueeze(1)


def mean_near_text(texts: Tensor, support: Tensor, neighbours: int = NEIGHBOURS, copies: int = TEXTS) -> Tensor:
    """Means [C, d] of classes of which there are only texts [C, d], made up from features [N, d] of other classes."""
    near = support[(texts @ support.t()).topk(min(neighbours, len(support))).indices]
    return (near.sum(1) + copies * texts) / (near.shape[1] + copies)


def shrunk_scatter(residuals: Tensor) -> Tensor:
    """(N - 1) S + tr(S) I [d, d] of residuals [N, d] around their class means, S being their covariance: shrunk as by
    Kubokawa and Srivastava. In double precision."""
    scatter = residuals.double().t() @ residuals.double()
    ridge = scatter.trace() / (len(residuals) - 1)
    return scatter + ridge * torch.eye(len(scatter), dtype=scatter.dtype, device=scatter.device)


def shrunk_precision(residuals: Tensor) -> Tensor:
    """Their estimate d ((N - 1) S + tr(S) I)^-1 of the inverse covariance [d, d]."""
    return residuals.shape[1] * torch.linalg.inv(shrunk_scatter(residuals))


def shrunk_covariance(residuals: Tensor) -> Tensor:
    """The same shape as a covariance to draw from [d, d]: with the trace of S."""
    return shrunk_scatter(residuals) / (len(residuals) - 1 + residuals.shape[1])


def eigenvalues(covariance: Tensor) -> Tensor:
    """Of a symmetric matrix [d, d], the largest first, in double precision; no rounding makes one negative."""
    return torch.linalg.eigvalsh(covariance.double()).flip(0).clamp(min=0)


def lda_classifier(texts: Tensor, means: Tensor, precision: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Weights [C, d] and bias [C] of GaussianLDA: cosines with the texts [C, d], and `share` times the logits of
    Gaussian classes with the means [C, d] and one inverse covariance [d, d]."""
    weights = means.double() @ precision.double()
    bias = -(weights * means.double()).sum(1) / 2
    return (texts + share * weights).float(), (share * bias).float()
