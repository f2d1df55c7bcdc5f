"""Class names under a learned context as unit text features: what prompt learners do with the frozen tower."""

import torch.nn as nn
import torch.nn.functional as F

from .prompts import ClassTokens, assemble
from .text_encoder import TextEncoder


class ClassEncoder(nn.Module):
    """Contexts [n, w] -> unit text features [C, d] of `classnames`. Has no parameters of its own.

    All names share the context, so its keys and values are computed once for them. An image-conditional method calls
    this once per image: its context then costs as much as one class name does, not as much as all of them.
    """

    def __init__(self, backbone, classnames, n_ctx, chunk=0):
        """`chunk` > 0: so many names a pass, with recomputation, to bound memory. UserError for a prompt too long."""
        super().__init__()
        self.backbone, self.classnames, self.chunk = [backbone], list(classnames), chunk
        self.tokens = ClassTokens(classnames, backbone, n_ctx=n_ctx)
        self.encode = TextEncoder(backbone, chunk)

    @property
    def logit_scale(self):
        """What cosines are multiplied with: exp of the backbone's logarithm."""
        return self.backbone[0].logit_scale.exp().float()

    def forward(self, ctx, position="end"):
        prompts, eot, prefix = assemble(self.tokens, ctx.to(self.backbone[0].dtype), position)
        return F.normalize(self.encode(prompts, eot, prefix).float(), dim=-1)
