"""Plain formulations, which compute what ours do as published code does: 77 positions of every prompt, nothing shared.

Each is a class with the interface of ours. steps.py puts one in the place of the other.
"""

import torch
import torch.nn.functional as F

from trainers.coop import CoOpHead
from trainers.core.model.prompts import assemble
from trainers.generative.generator import PromptGenerator

NAMES = 100  # at a time: 77 positions keep some 40 MB a name for the backward pass of 12 layers


def plain_features(backbone, tokens, ctx, index=None):
    """Unit text features [N, d] of class tokens under a context [n, w], or one context per row [N, n, w]."""
    body, eot, start = assemble(tokens, ctx, index=index)
    padding = backbone.token_embedding.weight[:1].expand(len(body), backbone.context_length, -1)
    prompts = torch.cat([start.expand(len(body), -1, -1), body, padding], 1)[:, : backbone.context_length]
    return F.normalize(backbone.encode_prompts_plain(prompts, eot.to(prompts.device)).float(), dim=-1)


class PlainCoOpHead(CoOpHead):
    def encode_names(self, tokens):
        return plain_features(self.backbone, tokens, self.ctx)


class PlainGenerator(PromptGenerator):
    def forward(self, z, labels, classes):
        return plain_features(self.backbone[0], classes, self.synthesize_prompts(z), labels)
