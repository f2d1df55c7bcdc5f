"""Base or new? What every separation of test images needs: how two experts are joined, the images that a threshold may
be chosen on, and how well a score separates."""

from collections import Counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .metrics import BATCH, images_of

NEVER = -1e4  # log probability of the losing side of a step


def log_shares(score: Tensor, eta: float | Tensor, softness: float) -> tuple[Tensor, Tensor]:
    """log pi and log(1 - pi), each [B], of pi = sigmoid((score - eta) / softness); at softness 0 a step, whose losing
    side has NEVER."""
    if softness == 0:
        base = score >= eta
        return torch.where(base, 0.0, NEVER), torch.where(base, NEVER, 0.0)
    margin = (score - eta) / softness
    return F.logsigmoid(margin), F.logsigmoid(-margin)


def route(base_logits: Tensor, new_logits: Tensor, shares: tuple[Tensor, Tensor], is_base: Tensor) -> Tensor:
    """log p(y | x) [B, C]: a share of each expert's probabilities. `shares` are log_shares, `is_base` [C] says which
    columns the base names have."""
    sides = [share[:, None] + logits.log_softmax(1) for share, logits in zip(shares, (base_logits, new_logits))]
    column = torch.cat([is_base.nonzero().flatten(), (~is_base).nonzero().flatten()]).argsort()
    return torch.cat(sides, 1)[:, column.to(base_logits.device)]


def which_are_base(names: list[str], base: list[str]) -> Tensor:
    """Which of `names` are base ones [C]. Of equal names the first stand for base classes, as often as `base` has
    them."""
    left, found = Counter(base), []
    for name in names:
        found.append(left[name] > 0)
        left[name] -= 1
    return torch.tensor(found, dtype=torch.bool)


class RoutedHead(nn.Module):
    """Unit features [B, d] -> log p(y | x) [B, C] in the caller's order of names. `base` and `new` are heads over its
    base and its new names, `is_base` [C] says which are which, `score(features)` -> g [B]."""

    def __init__(self, base: nn.Module, new: nn.Module, is_base: Tensor, score, eta: float, softness: float):
        super().__init__()
        self.base, self.new, self.is_base = base, new, is_base
        self.score, self.eta, self.softness = score, eta, softness
        self.evaluation_batch = min(getattr(head, "evaluation_batch", BATCH) for head in (base, new))

    def shares(self, features):
        return log_shares(self.score(features), self.eta, self.softness)

    def base_share(self, features: Tensor) -> Tensor:
        """pi(x) [B]."""
        return self.shares(features)[0].exp()

    def forward(self, features):
        return route(self.base(features).float(), self.new(features).float(), self.shares(features), self.is_base)


def cosines(features: Tensor, labels: Tensor, sums: Tensor, prototypes: Tensor, own: bool) -> Tensor:
    """Cosines [N, C] of unit features with the prototypes. `own`: these are made of the very features, so each is taken
    out of its class's first."""
    found = features @ prototypes.t()
    if own:
        rest = F.normalize(sums[labels] - features, dim=-1)
        found[torch.arange(len(labels), device=found.device), labels] = (features * rest).sum(1)
    return found


def judges(trainer):
    """-> (FeatureSet of base images to choose a threshold on, what they are, whether they are the training images).

    Validation images, or training images that were left over; the training images themselves where there is neither.
    """
    if trainer.data.val_set is None and not getattr(trainer.dataset, "unused_train", None):
        return trainer.train_set, "training images, each taken out of its prototype", True
    return (*trainer.search_set(), False)


def auroc(base: Tensor, new: Tensor) -> float:
    """Probability that a base image scores above a new one; ties count half."""
    order = new.sort().values
    below, not_above = torch.searchsorted(order, base), torch.searchsorted(order, base, right=True)
    return (below + not_above).double().mean().item() / 2 / len(new)


@torch.no_grad()
def test_auroc(trainer, split, score) -> float | None:
    """AUROC of a score on the test images that the task evaluates among base and new names; None without such images.

    `split(names)` says which are base [C], `score(features, names)` -> [N]. It is reported; nothing is chosen by it.
    """
    found = {True: [], False: []}
    for evaluation in trainer.task.evaluations():
        is_base = split(evaluation.classnames)
        if is_base.any() and not is_base.all():
            images = images_of(trainer, evaluation)
            scores, of_base = score(images.first(), evaluation.classnames).cpu(), is_base[images.labels.cpu()]
            for side, kept in found.items():
                kept.append(scores[of_base == side])
    base, new = (torch.cat(found[side]) if found[side] else torch.empty(0) for side in (True, False))
    return auroc(base, new) if len(base) and len(new) else None
