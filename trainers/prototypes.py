"""Baselines without training: a class with images is where its images are, a class with only a name is where its text
points to. They are the bar that every trained method must clear.

Prototype: the mean m_c of the images of class c, each image the unit mean of its views, against text features t0_n of
the hand-written template, moved over the modality gap:

    w_c = unit(m_c),  w_n = unit(t0_n + mean_c m_c - mean_c t0_c),  logits = s x . w

GaussianLDA: A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation (Wang et al., ICLR 2024,
https://openreview.net/forum?id=Js5PJPHDyY). Gaussian classes of one covariance S, beside zero-shot logits:

    P      = d ((N - 1) S + tr(S) I)^-1            shrunk precision (Kubokawa and Srivastava), N images
    mu_n   = (sum of the 64 features nearest to t0_n + 16 t0_n) / 80
    logits = 100 x . t0 + x^T P mu - mu^T P mu / 2                times s / 100: the backbone's own scale, for plug-ins

64, 16 and the estimator are those of the paper's code. Two things differ. That code has one classifier for base classes
and one for new ones, each of another covariance; we need one for both, and take the within-class covariance of base
images. It searches a weight of the Gaussian classifier on validation images in powers of ten; ours is 1, so that
nothing is chosen.

With SHIP, ours: unit means of synthetic features stand in the place of the texts t0 in both logits and in w_n; mu_n
stays made of the hand-written text. Nothing is fine-tuned.
"""

import torch.nn.functional as F

from .core import FeatureTrainer, encode_classes
from .core.gaussian import NEIGHBOURS, GaussianHead, MeansHead, gaussian_state, means_of
from .plugins import register_twins


class PrototypeHead(MeansHead):
    """Unit features [B, d] -> logits [B, C]. State: means [C, d], offset [d] from text to images."""

    def mean_of(self, names):
        return self.texts_of(names) + self.offset

    def class_weights(self):
        return F.normalize(self.means, dim=-1)

    def forward(self, features):
        return self.logit_scale * features @ self.class_weights().t()


class MeansTrainer(FeatureTrainer):
    """What both have in common: nothing is trained, and the head is made of the few-shot features.

    A subclass has `HEAD`, a MeansHead, and `state(features, labels, texts)`: what the head over the classes with images
    is made of, given unit features [N, d], labels [N], and what describes the classes [C, d].
    """

    NEEDS_FEATURES = True
    USES_CLASS_MEANS = True
    trains = False

    def build_head(self, classnames):
        train, base = self.train_set, self.task.real_classnames()
        synthetic = self.class_means(base)
        texts = encode_classes(self.backbone, self.templates, base) if synthetic is None else synthetic
        state = self.state(train.mean(), train.labels, texts)
        head = self.head_from_checkpoint(base, state if synthetic is None else {**state, "texts": synthetic})
        return head if base == list(classnames) else head.for_classes(classnames)

    def head_from_checkpoint(self, classnames, state_dict):
        """As it was saved: evaluation reads no training image."""
        state = {name: value.to(self.device) for name, value in state_dict.items()}
        texts_of = self.class_means if "texts" in state else None
        return self.HEAD(self.backbone, self.announced_templates(), classnames, state, texts_of)


@register_twins
class Prototype(MeansTrainer):
    SECTION = "PROTOTYPE"
    MODEL_NAME = "prototypes"
    HEAD = PrototypeHead

    def state(self, features, labels, texts):
        means = means_of(features, labels, len(texts))
        return {"means": means, "offset": means.mean(0) - texts.mean(0)}


@register_twins
class GaussianLDA(MeansTrainer):
    SECTION = "GAUSSIAN_LDA"
    MODEL_NAME = "gaussians"
    HEAD = GaussianHead

    def state(self, features, labels, texts):
        return gaussian_state(features, labels, len(texts), round(NEIGHBOURS * self.task.share))
