"""Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification (Zhang et al., ECCV 2022).

https://arxiv.org/abs/2207.09519. A cache of the few-shot features, keys K [N, d] and one-hot values V [N, C], answers
beside zero-shot CLIP:

    logits = s * f @ W^T + alpha * exp(-beta * (1 - f @ K^T)) @ V

s is the backbone's logit scale: 100 for CLIP, as the paper writes it, 12.2 for MiniCLIP. alpha is counted in logits,
which is what s makes of cosines; relative to cosines the cache weighs alpha / s. Counted so, the published grid serves
MiniCLIP too: on held-out images of Caltech101's base classes the best alpha was about 2.4. In units of s / 100 that
would be 20, far outside.

Tip_Adapter trains nothing. Tip_Adapter_F learns the keys, with the ALPHA and BETA of the config. Then both search alpha
and beta on few-shot validation images (core/images.py). The defaults are those of the released ImageNet
configuration; the other ten released ones are PER_DATASET in configs/trainers/Tip_Adapter/vit_b16.yaml. The released
code takes the epoch that is best on test and prints the better of two test figures; this one takes the last epoch and
looks at no test image.

Two more differences. A key is the mean of an image's views: of raw features there, whose norms differ by some ten
percent, of unit ones here (banks hold unit features). And of equal accuracies its search keeps the first, ours the one
of the lowest cross-entropy: on some hundred images many settings tie.

Tip_Adapter_F_SHIP has synthetic features as keys of the new classes, and searches as without SHIP: base images among
the base names. Among all names base images would be a one-sided judge: a larger alpha lets real keys outvote the new
classes, and no image of a new class objects. Synthetic images would not either: beside synthetic keys they are all
classified correctly whatever alpha and beta are, so adding them changed no choice. This was seen on the base classes of
Caltech101 with half of them taken as new; both rules did equally well there within the noise of some 500 images, so the
choice is one of principle.
"""

from itertools import product

import torch
import torch.nn as nn
import torch.nn.functional as F

from .core import FeatureTrainer, RowHead, UserError, encode_classes
from .core.files import find_positions
from .plugins import register_twins


class TipHead(RowHead):
    """Unit features [B, d] -> logits [B, C]. keys [N, d], of unit norm at first, labels [N], text_features [C, d]; they
    are saved where a generator made them (`keeps_text`)."""

    UNKNOWN = "its cache has no key for classes without images; Tip_Adapter_F_SHIP makes keys of their names"

    def __init__(self, backbone, classnames, text_features, keys, labels, alpha, beta, learned, keeps_text=False):
        super().__init__(backbone, classnames)
        self.keys = nn.Parameter(keys.clone(), requires_grad=learned)
        self.register_buffer("labels", labels)
        self.register_buffer("alpha", torch.tensor(float(alpha), dtype=torch.float64))
        self.register_buffer("beta", torch.tensor(float(beta), dtype=torch.float64))
        self.register_buffer("text_features", text_features, persistent=keeps_text)

    def set(self, alpha, beta):
        self.alpha.fill_(alpha)
        self.beta.fill_(beta)

    def zero_shot(self, features):
        """CLIP's own logits [B, C]."""
        return self.logit_scale * features @ self.text_features.t()

    def cache(self, affinity, beta):
        """The cache's logits for alpha 1 [B, C], of K @ f^T [N, B]: the product with V as sums over the keys of each
        class."""
        answers = (-beta * (1 - affinity)).exp()
        sums = answers.new_zeros(len(self.classnames), answers.shape[1])
        return sums.index_add(0, self.labels, answers).t()

    def forward(self, features):
        return self.zero_shot(features) + self.alpha * self.cache(self.keys @ features.t(), self.beta)

    def for_classes(self, classnames):
        """The head over some of its classes: their keys and columns."""
        columns = self.rows(classnames).to(self.labels.device)
        kept, labels = (self.labels[:, None] == columns).nonzero(as_tuple=True)
        keys, text_features = self.keys.detach()[kept], self.text_features[columns]
        return TipHead(self.backbone, classnames, text_features, keys, labels, self.alpha, self.beta, learned=False)


def grid(first, end, count):
    """`count` numbers from `first` on, without `end`."""
    return [first + i * (end - first) / count for i in range(int(count))]


@torch.no_grad()
def search(head, features, labels, alphas, betas):
    """The (accuracy in percent, alpha, beta) that is best on `features` [N, d] of `labels` [N].

    Accuracy decides; among the many settings that tie on a few images, the lowest cross-entropy does.
    """
    zero_shot, affinity, scores = head.zero_shot(features), head.keys @ features.t(), []
    for beta in betas:
        cache = head.cache(affinity, beta)
        for alpha in alphas:
            logits = zero_shot + alpha * cache
            scores.append(torch.stack([(logits.argmax(1) == labels).sum(), -F.cross_entropy(logits, labels)]))
    scores = torch.stack(scores).double().tolist()  # the one place that waits for the device
    best = max(range(len(scores)), key=scores.__getitem__)
    beta, alpha = list(product(betas, alphas))[best]
    return scores[best][0] / len(labels) * 100, alpha, beta


@register_twins
class Tip_Adapter_F(FeatureTrainer):
    """Fine-tunes the keys, with the alpha and beta of the config; these are searched after the last epoch."""

    SECTION = "TIP_ADAPTER"
    OPTIONS = {
        "ALPHA": 1.17,  # weight of the cache in logits while keys are learned, and afterwards without SEARCH
        "BETA": 1.0,  # sharpness, likewise
        "SEARCH": True,  # of alpha and beta on validation images, when training is over
        "ALPHA_GRID": (0.1, 3.0, 20),  # from, to (not included), count
        "BETA_GRID": (0.1, 7.0, 200),
        "EPS": 1e-4,  # of the Adam family of optimisers
        "TEXT": "hand_written",  # W: of hand-written prompts, or "synthetic": class means by a generator
    }
    LIMITS = {"TEXT": ("hand_written", "synthetic")}
    MODEL_NAME = "tip_adapter"
    NEEDS_FEATURES = True

    searched = None  # the images that alpha and beta are searched on, and what they are

    def prepare(self):
        if self.options.SEARCH and self.task.real_classnames():
            self.searched = self.search_set()  # before training, so that a dataset without such images is told at once
        super().prepare()

    def set_head(self, head, classnames, training=True):
        if training and (self.task.real_classnames() or self.extra_names()):
            head.set(self.options.ALPHA, self.options.BETA)  # a resumed checkpoint may hold those of a search
        super().set_head(head, classnames, training)

    def build_head(self, classnames):
        support = self.support_set()
        return self.cache_head(classnames, support.mean(), support.labels, self.options.ALPHA, self.options.BETA)

    def cache_head(self, classnames, keys, labels, alpha, beta, text_features=None):
        synthetic = self.options.TEXT == "synthetic"
        if text_features is None and synthetic:
            text_features = self.class_means(classnames)
            if text_features is None:
                raise UserError("TRAINER.TIP_ADAPTER.TEXT synthetic needs a generator: use Tip_Adapter_F_SHIP")
        elif text_features is None:
            text_features = encode_classes(self.backbone, self.announced_templates(), classnames)
        return TipHead(self.backbone, classnames, text_features, keys, labels, alpha, beta, self.trains, synthetic)

    def head_from_checkpoint(self, classnames, state_dict):
        """The cache as it was saved: its size depends on data that evaluation does not read."""
        return self.cache_head(classnames, **{name: value.to(self.device) for name, value in state_dict.items()})

    def method_head(self, classnames):
        """With keys from a plug-in's generator for names that came after training, as many per class as others have."""
        head = self.head
        unknown = find_positions(classnames, head.classnames)[1]
        per_class = -(-len(head.labels) // len(head.classnames))
        keys = self.synthetic(unknown, per_class) if unknown else None
        if keys is None:
            return super().method_head(classnames)
        places = torch.arange(len(unknown), device=keys.device).repeat_interleave(per_class)
        keys, labels = torch.cat([head.keys.detach(), keys]), torch.cat([head.labels, len(head.classnames) + places])
        head = self.cache_head([*head.classnames, *unknown], keys, labels, head.alpha, head.beta)
        return head.for_classes(classnames)

    def build_optimizer(self, head):
        optimizer = super().build_optimizer(head)
        for group in optimizer.param_groups:  # other optimisers than the Adam family do not look at eps
            group.update(eps=self.options.EPS, fused=True)  # fused: one pass over the keys
        return optimizer

    def tune(self):
        if self.searched is None:
            return super().tune()
        (images, source), alphas, betas = self.searched, grid(*self.options.ALPHA_GRID), grid(*self.options.BETA_GRID)
        head = self.method_head(self.task.real_classnames())  # without the new names of the twin
        with self.watch.stage("search"):
            accuracy, alpha, beta = search(head, images.first(), images.labels, alphas, betas)
        self.head.set(alpha, beta)
        print(f"alpha {alpha:.4g}, beta {beta:.4g}: the best, {accuracy:.1f}% of {len(images)} images: {source}")
        return "; ".join(filter(None, [f"alpha, beta on {source}", super().tune()]))

    def own_results(self):
        alpha, beta = self.head.alpha.item(), self.head.beta.item()
        return {"alpha": alpha, "beta": beta, "alpha_over_logit_scale": alpha / self.head.logit_scale.item()}


@register_twins
class Tip_Adapter(Tip_Adapter_F):
    """The training-free variant."""

    trains = False
