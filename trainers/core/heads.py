"""What most heads are: hand-written prompts around class names (ZeroshotHead), learned ones (PromptHead), or fixed
rows, one for each name (RowHead).

A head maps unit image features [B, d] to logits [B, C] over its `classnames`. `head.for_classes(names)` is the same
head over other names; ClassesUnsupported says why where that is impossible.
"""

import copy
from collections import Counter
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .files import ClassesUnsupported, find_positions
from .model.prompts import ClassTokens, assemble, encode_classes
from .model.text_encoder import TextEncoder


def which_are_base(names: list[str], base: list[str]) -> Tensor:
    """Which of `names` are base ones [C]. Of equal names the first stand for base classes, as often as `base` has
    them."""
    left, found = Counter(base), []
    for name in names:
        found.append(left[name] > 0)
        left[name] -= 1
    return torch.tensor(found, dtype=torch.bool)


class Head(nn.Module):
    """Class names and a frozen backbone, which is in a tuple so that it is no part of the head's state."""

    def __init__(self, backbone, classnames: list[str]):
        super().__init__()
        self._backbone, self.classnames = (backbone,), list(classnames)

    @property
    def backbone(self):
        return self._backbone[0]

    @property
    def logit_scale(self) -> Tensor:
        """What cosines are multiplied with: exp of the backbone's logarithm."""
        return self.backbone.logit_scale.exp().float()

    def class_weights(self) -> Tensor | None:
        """W [C, d] with logits = scale * f @ W^T, where they are that."""
        return None

    def as_linear(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """What `linear_of` gives."""
        weights = self.class_weights()
        return None if weights is None else (weights, weights.new_zeros(len(weights)), self.logit_scale.reshape(1))


def linear_of(head: nn.Module) -> tuple[Tensor, Tensor, Tensor] | None:
    """W [C, d], b [C] and s [1] with logits = s * (f @ W^T + b) of unit features f; None where `head` is not that."""
    return head.as_linear() if hasattr(head, "as_linear") else None


def class_features(features: Tensor, dim: int) -> Tensor:
    """Unit features [B, dim] of images, of which a method may have more than one [B, n dim]: the first is the one that
    is compared with text."""
    return features if features.shape[1] == dim else F.normalize(features[:, :dim], dim=-1)


class ZeroshotHead(Head):
    """Unit image features [B, d] -> logits [B, C]: cosine with the text feature of "a photo of a {}." times the logit
    scale (paper Eq. 1)."""

    def __init__(self, backbone, templates, classnames):
        super().__init__(backbone, classnames)
        self.templates = templates
        self.register_buffer("text_features", encode_classes(backbone, templates, classnames), persistent=False)

    def forward(self, features):
        return self.logit_scale * class_features(features, self.text_features.shape[1]) @ self.text_features.t()

    def class_weights(self):
        return self.text_features

    def for_classes(self, names):
        return ZeroshotHead(self.backbone, self.templates, names)


class Blocks(nn.Module):
    """Unit features [B, d] -> the logits of several heads side by side, of which the columns `keep` stay.

    Names that come after training get a head of their own. One head over all would encode the old names anew, in
    batches of another size, and move their logits in the last bits.
    """

    def __init__(self, heads: list[nn.Module], keep: list[int]):
        super().__init__()
        self.heads, self.keep = nn.ModuleList(heads), keep

    def forward(self, features):
        return torch.cat([head(features).float() for head in self.heads], 1)[:, self.keep]

    def as_linear(self):
        found = [linear_of(head) for head in self.heads]
        if None in found:
            return None
        weights, bias, scale = map(torch.cat, zip(*found))
        return weights[self.keep], bias[self.keep], scale[:1]


def is_joint(head: nn.Module) -> bool:
    """Whether the logits of `head` are log probabilities over all its names, so that one name more moves all."""
    return any(getattr(part, "JOINT", False) for part in head.modules())


class RowHead(Head):
    """A head with one row of its parameters for each class: over other names it can only choose among its rows."""

    UNKNOWN = "it knows only the classes it was trained on"  # why it has no row for another class

    def rows(self, names: list[str]) -> Tensor:
        """Where `names` stand among the head's own [len(names)], equal ones by position. Raises ClassesUnsupported."""
        found, unknown = find_positions(names, self.classnames)
        if unknown:
            raise ClassesUnsupported(
                f"not trained with {len(unknown)} of the classes asked for, such as '{unknown[0]}': {self.UNKNOWN}"
            )
        return torch.tensor(found, dtype=torch.long)


class PromptHead(Head):
    """Learned prompts, apart from the names that they are read with.

    A method gives `encode_names(tokens)`, and its own `forward` where logits are not the scaled cosine with
    `text_features()`.
    """

    USES_TEXT_FEATURES = True  # its loss computes text_features() anyway; False: it encodes other prompts

    def __init__(self, backbone, classnames: list[str], n_ctx: int, chunk: int = 0, pattern: str = "{}."):
        """`n_ctx` tokens of context must fit beside each name; `chunk` > 0 bounds memory (TextEncoder); `pattern` is
        what follows the context, with {} for the name."""
        super().__init__(backbone, classnames)
        self.pattern, self.n_ctx = pattern, n_ctx
        self.tokens = self.tokens_of(classnames)
        self._encoder = TextEncoder(backbone, chunk)
        self._in_pass = False
        self._kept: dict[str, object] = {}

    def tokens_of(self, names: list[str]) -> ClassTokens:
        """Any names as `encode_names` takes them."""
        return ClassTokens(names, self.backbone, self.n_ctx, self.pattern)

    def encode_names(self, tokens: ClassTokens) -> Tensor:
        """Unit text features [N, d] of any names under the learned prompts, differentiable in these."""
        raise NotImplementedError

    def text_features(self) -> Tensor:
        """Unit text features [C, d] of the head's names; computed once in a pass and once while evaluating."""
        return self.once("text features", lambda: self.encode_names(self.tokens))

    def forward(self, features: Tensor) -> Tensor:
        return self.logit_scale * features @ self.text_features().t()

    def class_weights(self) -> Tensor | None:
        """W [C, d] with logits = scale * f @ W^T; None where prompts depend on the image."""
        return self.text_features() if self.USES_TEXT_FEATURES else None

    def for_classes(self, names: list[str]) -> "PromptHead":
        """The same parameters, not a copy of them, read with other names."""
        head = copy.copy(self)
        head.classnames, head._in_pass, head._kept = list(names), False, {}
        head.tokens = self.tokens_of(names)
        return head

    def encode(self, tokens: ClassTokens, ctx: Tensor, position: str = "end", **hooks) -> Tensor:
        """Unit text features [N, d] of `tokens` under contexts [n, w], or one a row [N, n, w] (prompts.assemble), with
        the `hooks` between blocks that TextEncoder takes."""
        prompts, eot, prefix = assemble(tokens, ctx.to(self.backbone.dtype), position)
        return F.normalize(self._encoder(prompts, eot, prefix, **hooks).float(), dim=-1)

    @contextmanager
    def one_pass(self):
        """Within it the parameters stay as they are: what `once` computes serves a method's loss and the penalties of
        plug-ins alike."""
        self._in_pass, self._kept = True, {}
        try:
            yield
        finally:
            self._in_pass, self._kept = False, {}

    def once(self, name: str, compute):
        """`compute()`, kept under `name` within a pass, and between batches while evaluating."""
        if not self._in_pass and (self.training or torch.is_grad_enabled()):
            return compute()
        if name not in self._kept:
            self._kept[name] = compute()
        return self._kept[name]

    def train(self, mode: bool = True):
        self._kept = {}
        return super().train(mode)
