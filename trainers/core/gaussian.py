"""Means and covariances of features by class, and the heads that are made of them: what needs no training."""

import torch
from torch import Tensor

from .files import UserError, find_positions
from .heads import Head, class_features, which_are_base
from .model.prompts import encode_classes

# How the mean of a class that has only a name is made up, as in the code of Wang et al. (ICLR 2024): the features
# nearest to its text, and so many copies of the text itself.
NEIGHBOURS, TEXTS = 64, 16
PAPERS_SCALE = 100.0  # what that paper multiplies cosines with, and counts the weight of the Gaussian classifier beside


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
    Kubokawa and Srivastava. In double precision. Raises UserError where every class has one image."""
    if not residuals.any():
        raise UserError("every class has one image, and a covariance takes two: set DATASET.NUM_SHOTS 2 or more")
    scatter = residuals.double().t() @ residuals.double()
    ridge = scatter.trace() / (len(residuals) - 1)
    return scatter + ridge * torch.eye(len(scatter), dtype=scatter.dtype, device=scatter.device)


def shrunk_covariance(residuals: Tensor) -> Tensor:
    """The same shape as a covariance to draw from [d, d]: with the trace of S."""
    return shrunk_scatter(residuals) / (len(residuals) - 1 + residuals.shape[1])


def gaussian_state(features: Tensor, labels: Tensor, count: int, neighbours: int = NEIGHBOURS) -> dict[str, Tensor]:
    """What a GaussianHead over `count` classes is made of: unit features [N, d] of images, labels [N]. Some class must
    have two images."""
    means = means_of(features, labels, count)
    blend = torch.tensor([1.0, neighbours, TEXTS], dtype=torch.float64, device=features.device)  # 1: a weight
    precision = features.shape[1] * torch.linalg.inv(shrunk_scatter(features - means[labels]))  # of the same authors
    return {"means": means, "precision": precision.float(), "support": features, "blend": blend}


class MeansHead(Head):
    """A head that has learned where its classes are, `means` [C, d]; of any other name a subclass makes up the mean,
    `mean_of(names)` [len(names), d].

    `state` holds what is saved: the means, and what other names need. A class is described by its hand-written text;
    or by the row of `texts` [C, d] in the state, and any further class by a row of `texts_of(names)`.
    """

    def __init__(self, backbone, templates, classnames, state: dict[str, Tensor], texts_of=None):
        super().__init__(backbone, classnames)
        self.templates, self.texts_of = templates, texts_of or self.hand_written
        for name, value in state.items():
            self.register_buffer(name, value)

    def hand_written(self, names) -> Tensor:
        """t0 [len(names), d]."""
        return encode_classes(self.backbone, self.templates, names).to(self.means.device)

    def rows(self, names, own: Tensor, further) -> Tensor:
        """[len(names), d]: the rows of `own` [C, d] for names of the head, `further(names)` for others."""
        mine = which_are_base(names, self.classnames).to(own.device)
        positions, unknown = find_positions(names, self.classnames)
        found = own.new_empty(len(names), own.shape[1])
        found[mine] = own[positions]
        if unknown:
            found[~mine] = further(unknown)
        return found

    def for_classes(self, names):
        state = {**self.state_dict(), "means": self.rows(names, self.means, self.mean_of)}
        if "texts" in state:
            state["texts"] = self.rows(names, self.texts, self.texts_of)
        return type(self)(self.backbone, self.templates, names, state, self.texts_of)


class GaussianHead(MeansHead):
    """Unit features [B, d] -> logits [B, C]: Gaussian classes of one covariance beside zero-shot logits. State: means
    [C, d], precision [d, d], support [N, d]: features of images, and `blend`: the weight of the Gaussian classifier,
    how many neighbours and copies of the text make up a mean."""

    def __init__(self, backbone, templates, classnames, state, texts_of=None):
        super().__init__(backbone, templates, classnames, state, texts_of)
        texts = self.texts if "texts" in state else self.hand_written(self.classnames)
        means, share = self.means.double(), self.blend[0] / PAPERS_SCALE
        weights = means @ self.precision.double()
        bias = -(weights * means).sum(1) / 2
        self.register_buffer("weights", (texts + share * weights).float(), persistent=False)
        self.register_buffer("bias", (share * bias).float(), persistent=False)

    def mean_of(self, names):
        _, neighbours, copies = self.blend.tolist()
        return mean_near_text(self.hand_written(names), self.support, int(neighbours), copies)

    def as_linear(self):
        return self.weights, self.bias, self.logit_scale.reshape(1)

    def forward(self, features):
        return self.logit_scale * (class_features(features, self.weights.shape[1]) @ self.weights.t() + self.bias)
