"""GATE: whose image is it, a base class's or a new one's? Each answer has an expert of its own.

A fine-tuned method takes images of new classes for base ones. PVA (ECCV 2024) separates the two kinds first; this is
the same idea for every method. It is a reconstruction: PVA's paper could not be read, the form is that of the two
experts in generalized zero-shot learning (COSMO; DeCoOp, ICML 2024; the boundary classifier of Chen et al., ECCV 2020).

    log p(y | x) = log pi(x)       + log_softmax(base logits)_y    y base
                 = log(1 - pi(x)) + log_softmax(new logits)_y     y new
    pi(x) = sigmoid((g(x) - eta) / SOFTNESS)
    g(x)  = lse_c(kappa x . P_c) - lse_n(kappa x . Q_n)
    P_c   = unit(mean of the training features of base class c)
    Q_n   = unit(t0_n + mean_c P_c - mean_c t0_c)        t0: text features of the hand-written prompt

Ours: kappa is the backbone's logit scale, so that SOFTNESS 1 makes pi the posterior of one softmax over all P and Q;
an image of the training set counts as the mean of its views.

eta is chosen on images of base classes alone. Rule `leave_classes_out`: in eight folds some base classes play the new
ones, known by name only; P and Q classify; the eta with the best H (or accuracy) of both sides is taken. A fold takes
as large a share of the base classes as the task has new ones among its names, because the sums of g grow with the
number of names. For the same reason eta is kept for equal numbers, and log(base names / new names) is added in use.
Rule `quantile`: a share KEEP of the images counts as base.

Over base names alone, or new ones alone, nothing is routed: base, new and H stay as they are without GATE.
"""

import json
import math
import os
from collections import Counter

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .core.config import declare
from .core.errors import UserError
from .core.heads import Head
from .core.model.prompts import encode_classes, templates_for
from .core.names import find_positions
from .core.plugin import Plugin
from .core.run.evaluation import BATCH

FOLDS = 8
NEVER = -1e4  # log probability of the losing side of a step
FILE = os.path.join("gate", "gate.safetensors")
CHOICES = {
    "RULE": ("leave_classes_out", "quantile"),
    "OBJECTIVE": ("h", "accuracy"),
    "NEW_EXPERT": ("method", "zero_shot"),
}


def extend_cfg(cfg):
    declare(
        cfg,
        "TRAINER.GATE",
        RULE="leave_classes_out",  # how eta is chosen; or quantile
        OBJECTIVE="h",  # of leave_classes_out: h, the harmonic mean of both sides, or accuracy of all images
        KEEP=0.95,  # of quantile: the share of base images that counts as base
        SOFTNESS=1.0,  # of pi, in logits; 0: a step
        NEW_EXPERT="method",  # what answers for new names: the method, or zero_shot CLIP
    )


# ---- the formulas


def gate_score(features: Tensor, prototypes: Tensor, queries: Tensor, kappa: float) -> Tensor:
    """g [B] of unit features [B, d], P [C_b, d] and Q [C_n, d]; larger is more like base."""
    base, new = (kappa * features @ rows.t() for rows in (prototypes, queries))
    return base.logsumexp(1) - new.logsumexp(1)


def log_shares(score: Tensor, eta: float, softness: float) -> tuple[Tensor, Tensor]:
    """log pi and log(1 - pi), each [B]; at softness 0 the side that loses has NEVER."""
    if softness == 0:
        base = score >= eta
        return torch.where(base, 0.0, NEVER), torch.where(base, NEVER, 0.0)
    margin = (score - eta) / softness
    return F.logsigmoid(margin), F.logsigmoid(-margin)


def route(base_logits: Tensor, new_logits: Tensor, shares: tuple[Tensor, Tensor], is_base: Tensor) -> Tensor:
    """log p(y | x) [B, C], columns in the order of `is_base` [C]: which names are base ones."""
    sides = [share[:, None] + logits.log_softmax(1) for share, logits in zip(shares, (base_logits, new_logits))]
    stand = torch.cat([is_base.nonzero().flatten(), (~is_base).nonzero().flatten()])
    return torch.cat(sides, 1)[:, stand.argsort().to(base_logits.device)]


def which_are_base(names: list[str], base: list[str]) -> Tensor:
    """Which of `names` are base ones [C]. Of equal names the first stand for base classes, as often as these have
    it."""
    left, found = Counter(base), []
    for name in names:
        found.append(left[name] > 0)
        left[name] -= 1
    return torch.tensor(found, dtype=torch.bool)


def auroc(base: Tensor, new: Tensor) -> float:
    """Probability that a base image scores above a new one; ties count half."""
    order = new.sort().values
    below, not_above = torch.searchsorted(order, base), torch.searchsorted(order, base, right=True)
    return (below + not_above).double().mean().item() / 2 / len(new)


def test_auroc(trainer, split, score) -> float | None:
    """AUROC of a score on the test images that the task evaluates among base and new names; None without such.

    `split(names)` -> which are base [C]; `score(features, names)` -> [N]. It is reported, and nothing is chosen by it.
    """
    found = {True: [], False: []}
    for evaluation in trainer.task.evaluations():
        is_base = split(evaluation.classnames)
        if is_base.any() and not is_base.all():
            images = trainer.data.plain(evaluation.items)
            scores, of_base = score(images.first(), evaluation.classnames).cpu(), is_base[images.labels.cpu()]
            for side in (True, False):
                found[side].append(scores[of_base == side])
    base, new = (torch.cat(found[side]) if found[side] else torch.empty(0) for side in (True, False))
    return auroc(base, new) if len(base) and len(new) else None


# ---- the experts


class ZeroShotExpert(Head):
    """CLIP with the hand-written prompt: unit features [B, d] -> logits [B, C]."""

    def __init__(self, backbone, templates, classnames):
        super().__init__(backbone, classnames)
        self.register_buffer("text_features", encode_classes(backbone, templates, classnames), persistent=False)

    def forward(self, features):
        return self.logit_scale * features @ self.text_features.t()


class RoutedHead(nn.Module):
    """Unit features [B, d] -> log p(y | x) [B, C] in the caller's order of names. `base` and `new` are heads over its
    base and its new names, `is_base` [C] says which are which, `shares(features)` -> log pi and log(1 - pi)."""

    def __init__(self, base: nn.Module, new: nn.Module, is_base: Tensor, shares):
        super().__init__()
        self.base, self.new, self.is_base, self.shares = base, new, is_base, shares
        self.evaluation_batch = min(getattr(head, "evaluation_batch", BATCH) for head in (base, new))

    def base_share(self, features: Tensor) -> Tensor:
        """pi(x) [B]."""
        return self.shares(features)[0].exp()

    def forward(self, features):
        return route(self.base(features).float(), self.new(features).float(), self.shares(features), self.is_base)


class Gate:
    """What GATE learned: base names with their prototypes P [C_b, d], what text lacks to be an image (`offset` [d]),
    the names that were new, eta for equal numbers of names, kappa and softness."""

    def __init__(self, base, new, prototypes, offset, eta, kappa, softness):
        self.base, self.new, self.prototypes, self.offset = list(base), list(new), prototypes, offset
        self.eta, self.kappa, self.softness = eta, kappa, softness

    def split(self, names: list[str]) -> Tensor:
        """Which of `names` are base ones [C]. The new names as they were are new, also those that a base class has."""
        return which_are_base(names, [] if list(names) == self.new else self.base)

    def eta_among(self, base: int, new: int) -> float:
        """The threshold of g over so many base and new names."""
        return self.eta + math.log(base / new)

    def over(self, base: list[str], new_text: Tensor) -> "tuple":
        """g and the shares over some of the base names and new ones of text features t0 [C_n, d]: two functions of
        features [B, d]."""
        rows, _ = find_positions(base, self.base)
        prototypes, queries = self.prototypes[rows], F.normalize(new_text + self.offset, dim=-1)
        eta = self.eta_among(len(base), len(new_text))

        def score(features):
            return gate_score(features.float(), prototypes, queries, self.kappa)

        return score, lambda features: log_shares(score(features), eta, self.softness)


# ---- eta from base classes alone


def judges(trainer):
    """-> (FeatureSet of base images to choose eta on, what they are, whether they are the training images).

    Validation images, or training images that were left over; without either, the training images themselves.
    """
    if trainer.data.val_set is None and not getattr(trainer.dataset, "unused_train", None):
        return trainer.train_set, "training images, each without its share in its prototype", True
    return (*trainer.search_set(), False)


def class_means(features: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sums [C, d] of the features [N, d] of each class, and the same as unit vectors, the prototypes."""
    sums = features.new_zeros(count, features.shape[1]).index_add_(0, labels, features)
    return sums, F.normalize(sums, dim=-1)


def cosines(features: Tensor, labels: Tensor, sums: Tensor, prototypes: Tensor, own: bool) -> Tensor:
    """Cosines [N, C] with the prototypes; `own`: the features made them, so each is taken out of its class's first."""
    found = features @ prototypes.t()
    if own:
        rest = F.normalize(sums[labels] - features, dim=-1)
        found[torch.arange(len(labels), device=found.device), labels] = (features * rest).sum(1)
    return found


def folds(count: int, share: float, generator) -> list[Tensor]:
    """FOLDS masks [count] of the classes that play the new ones: a share of them, each class about as often."""
    chosen = min(max(round(share * count), 1), count - 1)
    order, masks = torch.randperm(count, generator=generator), []
    for i in range(FOLDS):
        mask = torch.zeros(count, dtype=torch.bool)
        mask[order.roll(-(i * count // FOLDS))[:chosen]] = True
        masks.append(mask)
    return masks


def critical_etas(cosine, features, labels, pseudo_new, prototypes, text, kappa, softness):
    """One fold -> for each image: the eta (for equal numbers of names) below which it is given to the base side, and
    whether it is of that side, right there, right on the other; each [N].

    On the base side its most probable name has log pi + b, on the other log(1 - pi) + n, and log pi - log(1 - pi) =
    (g - eta) / softness: base wins if and only if eta < g + softness (b - n).
    """
    old, new = (~pseudo_new).nonzero().flatten(), pseudo_new.nonzero().flatten()
    queries = F.normalize(text[new] + prototypes[old].mean(0) - text[old].mean(0), dim=-1)
    base_logits, new_logits = kappa * cosine[:, old], kappa * features @ queries.t()
    score = base_logits.logsumexp(1) - new_logits.logsumexp(1) - math.log(len(old) / len(new))
    (b, base_best), (n, new_best) = (logits.log_softmax(1).max(1) for logits in (base_logits, new_logits))
    return score + softness * (b - n), ~pseudo_new[labels], old[base_best] == labels, new[new_best] == labels


def best_eta(critical: Tensor, of_base: Tensor, right_base: Tensor, right_new: Tensor, objective: str):
    """-> (eta, the objective there in percent). The objective only changes at critical etas, so all values that it has
    are tried; of equal ones the middle."""
    critical, order = critical.double().sort()
    hit_base, hit_new = (right_base & of_base)[order], (right_new & ~of_base)[order]
    zero = torch.zeros(1, device=critical.device)
    new = torch.cat([zero, hit_new.cumsum(0)])  # [N + 1]: the first i images, by critical eta, are given to new
    base = hit_base.sum() - torch.cat([zero, hit_base.cumsum(0)])
    if objective == "h":
        a, b = base / of_base.sum(), new / (~of_base).sum()
        value = 2 * a * b / (a + b).clamp(min=1e-12)
    else:
        value = (base + new) / len(critical)
    edges = torch.cat([critical[:1] - 1, (critical[1:] + critical[:-1]) / 2, critical[-1:] + 1])
    # between equal critical etas there is no eta
    value[1:-1][critical[1:] == critical[:-1]] = -1
    best = (value == value.max()).nonzero().flatten()
    chosen = best[len(best) // 2]
    return edges[chosen].item(), value[chosen].item() * 100
