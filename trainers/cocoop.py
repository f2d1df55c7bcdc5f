"""CoCoOp: Conditional Prompt Learning for Vision-Language Models (Zhou et al., CVPR 2022,
https://arxiv.org/abs/2203.05557).

From the paper: the context v_m(x) = v_m + h(x) (section 3.2), h a Linear-ReLU-Linear network with a 16-fold smaller
hidden layer; a context of 4 tokens from "a photo of a", batches of 1, 10 epochs, SGD 0.002. From the authors' code:
the class name stands behind the context, the network sees unit features, one epoch of warm-up and then cosine, as in
CoOp.
"""

from collections import OrderedDict

import torch
import torch.nn as nn

from .coop import CoOpHead
from .core import PromptTrainer
from .plugins import register_twins


def meta_net(inputs, hidden, outputs, activation):
    """Two linear layers, under the names that published checkpoints have."""
    parts = {"linear1": nn.Linear(inputs, hidden), "relu": activation(), "linear2": nn.Linear(hidden, outputs)}
    return nn.Sequential(OrderedDict(parts))


class CoCoOpHead(CoOpHead):
    """Unit features [B, d] -> logits [B, C]; each image shifts the learned context [n, w] by a vector of its own."""

    USES_TEXT_FEATURES = False
    NO_EXPORT = "each image has prompts of its own, so that the text tower would have to run for each one"
    evaluation_batch = 64  # images, each with prompts of its own

    def __init__(self, backbone, classnames, ctx, chunk=0):
        super().__init__(backbone, classnames, ctx, chunk=chunk)
        self.meta_net = meta_net(backbone.embed_dim, max(backbone.embed_dim // 16, 1), backbone.width, nn.ReLU)
        self.shift = None  # the mean of h(x) over the last batch [w]

    def encode_names(self, tokens):
        """Under the mean of the last batch's contexts."""
        return self.encode(tokens, self.ctx if self.shift is None else self.ctx + self.shift)

    def forward(self, features):
        shifts = self.meta_net(features)
        self.shift = shifts.mean(0)
        contexts = self.ctx + shifts[:, None]  # v + h(x) [B, n, w]
        rows = [self.encode(self.tokens, ctx) @ feature for ctx, feature in zip(contexts, features)]
        return self.logit_scale * torch.stack(rows)


@register_twins
class CoCoOp(PromptTrainer):
    SECTION = "COCOOP"
    MODEL_NAME = "prompt_learner"  # stock CoCoOp's checkpoints load

    def build_head(self, classnames):
        return CoCoOpHead(self.backbone, classnames, self.initial_context(), self.options.CHUNK)
