"""Plain formulations, which compute what ours do as published code does: 77 positions of every prompt, nothing shared,
texts that are encoded in every step, a cache that answers by one-hot labels."""

import torch
import torch.nn.functional as F
from torch import nn

from trainers.core.model.prompts import tokenize
from trainers.tip_adapter import TipHead

NAMES = 100  # at a time: 77 positions keep some 40 MB a name for the backward pass of 12 layers
TEMPLATE = "a photo of a {}."


class PlainEncoder(nn.Module):
    """In the place of TextEncoder."""

    def __init__(self, backbone):
        super().__init__()
        self._backbone = (backbone,)

    def forward(self, prompts, eot, prefix):
        """prompts [N, L, w] behind the prefix [P, w], EOT's place [N] -> features [N, d], not normalised."""
        (backbone,) = self._backbone
        rows, length = len(prompts), backbone.context_length
        padding = backbone.token_embedding.weight[:1].expand(rows, length, -1)
        whole = torch.cat([prefix.expand(rows, -1, -1), prompts, padding], 1)[:, :length]
        return backbone.encode_prompts_plain(whole, eot.to(prompts.device))


class PlainZeroshot(nn.Module):
    """In the place of ZeroshotHead."""

    def __init__(self, backbone, names):
        super().__init__()
        self._backbone, self.names = (backbone,), names

    def forward(self, features):
        (backbone,) = self._backbone
        tokens = tokenize([TEMPLATE.format(name) for name in self.names]).to(features.device)
        text = F.normalize(backbone.encode_text_plain(tokens).float(), dim=-1)
        return backbone.logit_scale.exp() * features @ text.t()


class PlainTipHead(TipHead):
    def cache(self, affinity, beta):
        return (-beta * (1 - affinity)).exp().t() @ F.one_hot(self.labels, len(self.classnames)).float()
