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

from .core.class_encoder import ClassEncoder
from .core.config import declare
from .core.feature_trainer import FeatureTrainer
from .core.prompts import announced_context
from .core.registry import register


def extend_cfg(cfg):
    declare(
        cfg,
        "TRAINER.COCOOP",
        N_CTX=16,  # context length
        CTX_INIT="",  # words to start from; they fix the context length
        PREC="auto",  # fp16, fp32, amp; auto: fp16 on a GPU, fp32 on a CPU
        CHUNK=0,  # class names per text-encoder pass with recomputation, to bound memory; 0: all at once
    )


class CoCoOpHead(nn.Module):
    """Unit features [B, d] -> logits [B, C]; each image shifts the learned context [n, w] by a vector of its own."""

    evaluation_batch = 64  # images, each with prompts of its own

    def __init__(self, backbone, classnames, ctx, chunk=0):
        super().__init__()
        self.ctx = nn.Parameter(ctx.float())
        self.classes = ClassEncoder(backbone, classnames, len(ctx), chunk)
        inputs, hidden = backbone.embed_dim, max(backbone.embed_dim // 16, 1)
        self.meta_net = nn.Sequential(
            OrderedDict(linear1=nn.Linear(inputs, hidden), relu=nn.ReLU(), linear2=nn.Linear(hidden, backbone.width))
        )

    def contexts(self, features):
        """v + h(x): one context per image [B, n, w]."""
        return self.ctx + self.meta_net(features)[:, None]

    def forward(self, features):
        rows = [self.classes(ctx) @ feature for ctx, feature in zip(self.contexts(features), features)]
        return self.classes.logit_scale * torch.stack(rows)

    def for_classes(self, classnames):
        classes = self.classes
        head = CoCoOpHead(classes.backbone[0], classnames, self.ctx.detach(), classes.chunk).to(self.ctx.device)
        head.load_state_dict(self.state_dict())
        return head


@register
class CoCoOp(FeatureTrainer):
    SECTION = "COCOOP"
    MODEL_NAME = "prompt_learner"  # stock CoCoOp's checkpoints load

    def build_head(self, classnames):
        options = self.options
        ctx = announced_context(self.backbone, options)
        return CoCoOpHead(self.backbone, classnames, ctx, options.CHUNK)
