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

With SHIP, ours: unit means of synthetic features stand in the place of the texts t0 in both logits and in w_n; mu_n
stays made of the hand-written text. Nothing is fine-tuned.
"""

import torch.nn.functional as F

from .core import FeatureTrainer, UserError, register
from .core.gaussian import NEIGHBOURS, TEXTS, GaussianHead, MeansHead, gaussian_state, means_of
from .core.model.prompts import encode_classes
from .plugins import register_twins


class PrototypeHead(MeansHead):
    """Unit features [B, d] -> logits [B, C]. State: means [C, d], offset [d] from text to images."""

    def mean_of(self, names):
        return self.described(names) + self.offset

    def class_weights(self):
        return F.normalize(self.means, dim=-1)

    def forward(self, features):
        return self.logit_scale * features @ self.class_weights().t()


class MeansTrainer(FeatureTrainer):
    """What both have in common: nothing is trained, and the head is made of the few-shot features."""

    NEEDS_FEATURES = True
    USES_CLASS_MEANS = True
    trains = False
    HEAD = MeansHead

    def state(self, features, labels, texts):
        """What the head over the classes with images is made of: unit features [N, d], labels [N], and what describes
        the classes [C, d]."""
        raise NotImplementedError

    def prepare(self):
        if self.cfg.DATASET.NUM_SHOTS == 0:
            raise UserError(
                f"{type(self).__name__} with DATASET.NUM_SHOTS 0 has no images to take means of; give at least 1, or "
                "use ZeroshotCLIP"
            )
        super().prepare()

    def build_head(self, classnames):
        train, base, templates = self.train_set, self.task.real_classnames(), self.announced_templates()
        texts, texts_of = self.class_means(base), None
        if texts is None:
            texts = encode_classes(self.backbone, templates, base).to(train.features.device)
            state = self.state(train.mean(), train.labels, texts)
        else:
            state, texts_of = {**self.state(train.mean(), train.labels, texts), "texts": texts}, self.class_means
        head = self.HEAD(self.backbone, templates, base, state, texts_of)
        return head if base == list(classnames) else head.for_classes(classnames)

    def head_from_checkpoint(self, classnames, state_dict):
        """As it was saved: evaluation reads no training image."""
        wanted, found = set(self.SAVED), {name: list(value.shape) for name, value in state_dict.items()}
        shape = [len(classnames), self.backbone.embed_dim]
        if found.keys() - {"texts"} != wanted or found["means"] != shape:
            raise UserError(
                f"the checkpoint does not fit {type(self).__name__} as configured: expected {sorted(wanted)}, means of "
                f"shape {shape}; found {found}"
            )
        state = {name: value.to(self.device) for name, value in state_dict.items()}
        texts_of = self.class_means if "texts" in state else None
        return self.HEAD(self.backbone, self.announced_templates(), classnames, state, texts_of)


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
        # base features nearest to a new class's text that make its mean, together with so many copies of the text
        "NEIGHBOURS": NEIGHBOURS,
        "TEXTS": TEXTS,
    }
    MODEL_NAME = "gaussians"
    HEAD, SAVED = GaussianHead, ("means", "precision", "support", "blend")

    def state(self, features, labels, texts):
        if labels.bincount().max() < 2:
            raise UserError(
                "GaussianLDA needs a covariance, and every class has one image: give DATASET.NUM_SHOTS 2 or more, or "
                "use Prototype"
            )
        options, neighbours = self.options, round(self.options.NEIGHBOURS * self.task.share)
        return gaussian_state(features, labels, len(texts), options.ALPHA, neighbours, options.TEXTS)


register_twins(Prototype)
register_twins(GaussianLDA)
