"""Baselines without training: a class with images is where its images are, a class with only a name is where its text
points to. They are the bar that every trained method must clear.

Prototype: the mean m_c of the images of class c, each image the unit mean of its views, against text features t0_n of
the hand-written template, moved over the modality gap:

    w_c = unit(m_c),  w_n = unit(t0_n + mean_c m_c - mean_c t0_c),  logits = s x . w

GaussianLDA: A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation (Wang et al., ICLR 2024,
https://openreview.net/forum?id=Js5PJPHDyY). Gaussian classes of one covariance S, beside zero-shot logits:

    P      = d ((N - 1) S + tr(S) I)^-1            shrunk precision (Kubokawa and Srivastava), N images
    mu_n   = (sum of the 64 features nearest to t0_n + 16 t0_n) / 80
    logits = 100 x . t0 + ALPHA (x^T P mu - mu^T P mu / 2)        times s / 100: the backbone's own scale, for plug-ins

64, 16 and the estimator are those of the paper's code. Two things differ. That code has one classifier for base classes
and one for new ones, each of another covariance; we need one for both, and take the within-class covariance of base
images. It searches ALPHA on validation images in powers of ten; ours stays at 1, so that nothing is chosen.
"""

import torch
import torch.nn.functional as F

from .core import FeatureTrainer, Head, UserError, register
from .core.files import find_positions
from .core.gaussian import NEIGHBOURS, TEXTS, lda_classifier, mean_near_text, means_of, shrunk_precision
from .core.model.prompts import encode_classes
from .core.separation import which_are_base
from .plugins import register_twins

PAPERS_SCALE = 100.0  # what the paper multiplies cosines with, and counts ALPHA beside


class MeansHead(Head):
    """A head that has learned where its classes are, `means` [C, d]; of any other name it makes up the mean.

    `state` holds what is saved: the means, and what other names need.
    """

    def __init__(self, backbone, templates, classnames, state: dict[str, torch.Tensor]):
        super().__init__(backbone, classnames)
        self.templates = templates
        for name, value in state.items():
            self.register_buffer(name, value)

    def text_features(self, names):
        """t0 [len(names), d]."""
        return encode_classes(self.backbone, self.templates, names)

    def mean_of(self, names):
        """The means [len(names), d] of classes that have only a name."""
        raise NotImplementedError

    def for_classes(self, names):
        mine = which_are_base(names, self.classnames)
        rows, unknown = find_positions(names, self.classnames)
        means = self.means.new_empty(len(names), self.means.shape[1])
        means[mine.to(means.device)] = self.means[rows]
        if unknown:
            means[~mine.to(means.device)] = self.mean_of(unknown)
        return type(self)(self.backbone, self.templates, names, {**self.state_dict(), "means": means})


class PrototypeHead(MeansHead):
    """Unit features [B, d] -> logits [B, C]. State: means [C, d], offset [d] from text to images."""

    def mean_of(self, names):
        return self.text_features(names) + self.offset

    def class_weights(self):
        return F.normalize(self.means, dim=-1)

    def forward(self, features):
        return self.logit_scale * features @ self.class_weights().t()


class GaussianHead(MeansHead):
    """Unit features [B, d] -> logits [B, C]. State: means [C, d], precision [d, d], support [N, d]: features of base
    images, and in `blend` ALPHA, NEIGHBOURS and TEXTS."""

    def __init__(self, backbone, templates, classnames, state):
        super().__init__(backbone, templates, classnames, state)
        texts = self.text_features(self.classnames).to(self.means.device)
        weights, bias = lda_classifier(texts, self.means, self.precision, self.blend[0] / PAPERS_SCALE)
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def mean_of(self, names):
        _, neighbours, copies = self.blend.tolist()
        return mean_near_text(self.text_features(names).to(self.means.device), self.support, int(neighbours), copies)

    def forward(self, features):
        return self.logit_scale * (features @ self.weights.t() + self.bias)


class MeansTrainer(FeatureTrainer):
    """What both have in common: nothing is trained, and the head is made of the few-shot features."""

    NEEDS_FEATURES = True
    trains = False
    HEAD = MeansHead

    def state(self, features, labels, texts):
        """What the head over the classes with images is made of: unit features [N, d], labels [N], t0 [C, d]."""
        raise NotImplementedError

    def prepare(self):
        if self.cfg.DATASET.NUM_SHOTS == 0:
            raise UserError(
                f"{type(self).__name__} with DATASET.NUM_SHOTS 0 has no images to take means of; give at least 1, or "
                "use ZeroshotCLIP"
            )
        super().prepare()

    def build_head(self, classnames):
        support, templates = self.support_set(), self.announced_templates()
        texts = encode_classes(self.backbone, templates, classnames)
        state = self.state(support.mean(), support.labels, texts.to(support.features.device))
        return self.HEAD(self.backbone, templates, classnames, state)

    def head_from_checkpoint(self, classnames, state_dict):
        """As it was saved: evaluation reads no training image."""
        wanted, found = set(self.SAVED), {name: list(value.shape) for name, value in state_dict.items()}
        shape = [len(classnames), self.backbone.embed_dim]
        if found.keys() != wanted or found["means"] != shape:
            raise UserError(
                f"the checkpoint does not fit {type(self).__name__} as configured: expected {sorted(wanted)}, means of "
                f"shape {shape}; found {found}"
            )
        state = {name: value.to(self.device) for name, value in state_dict.items()}
        return self.HEAD(self.backbone, self.announced_templates(), classnames, state)


@register
class Prototype(MeansTrainer):
    SECTION = "PROTOTYPE"
    MODEL_NAME = "prototypes"
    HEAD, SAVED = PrototypeHead, ("means", "offset")

    def state(self, features, labels, texts):
        means = means_of(features, labels, len(texts))
        return {"means": means, "offset": means.mean(0) - texts.mean(0)}


@register
class GaussianLDA(MeansTrainer):
    SECTION = "GAUSSIAN_LDA"
    OPTIONS = {
        "ALPHA": 1.0,  # weight of the Gaussian classifier, counted beside 100 times cosines
        "NEIGHBOURS": NEIGHBOURS,  # base features nearest to a new class's text that make its mean, with
        "TEXTS": TEXTS,  # ... so many copies of the text itself
    }
    MODEL_NAME = "gaussians"
    HEAD, SAVED = GaussianHead, ("means", "precision", "support", "blend")

    def state(self, features, labels, texts):
        means, options = means_of(features, labels, len(texts)), self.options
        residuals = features - means[labels]
        if not residuals.any():
            raise UserError(
                "GaussianLDA needs a covariance, and every class has one image: give DATASET.NUM_SHOTS 2 or more, or "
                "use Prototype"
            )
        blend = torch.tensor([options.ALPHA, options.NEIGHBOURS, options.TEXTS], dtype=torch.float64)
        return {
            "means": means,
            "precision": shrunk_precision(residuals).float(),
            "support": features,
            "blend": blend.to(features.device),
        }


register_twins(Prototype)
register_twins(GaussianLDA)
