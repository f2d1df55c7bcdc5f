"""CoOp: Learning to Prompt for Vision-Language Models (Zhou et al., IJCV 2022, https://arxiv.org/abs/2109.01134)."""

import torch
import torch.nn as nn
import torch.nn.functional as F

from .core.config import declare
from .core.errors import ClassesUnsupported
from .core.feature_trainer import FeatureTrainer
from .core.names import find_positions
from .core.prompts import ClassTokens, announced_context, assemble
from .core.registry import register
from .core.text_encoder import TextEncoder
from .ship import register_ship


def extend_cfg(cfg):
    declare(
        cfg,
        "TRAINER.COOP",
        N_CTX=16,  # context length
        CSC=False,  # class-specific contexts
        CTX_INIT="",  # words to start from; they fix the context length
        PREC="auto",  # fp16, fp32, amp; auto: fp16 on a GPU, fp32 on a CPU
        CLASS_TOKEN_POSITION="end",  # end, middle or front
        CHUNK=0,  # class names per text-encoder pass with recomputation, to bound memory; 0: all at once
    )


class CoOpHead(nn.Module):
    """A learned context around class names: unit features [B, d] -> logits [B, C]. ctx is [n, w], or [C, n, w] with
    class-specific contexts."""

    def __init__(self, backbone, classnames, ctx, position="end", chunk=0):
        super().__init__()
        self.backbone, self.classnames, self.position = [backbone], list(classnames), position
        self.ctx = nn.Parameter(ctx.float())
        self.tokens = ClassTokens(classnames, backbone, n_ctx=ctx.shape[-2])
        self.encode = TextEncoder(backbone, chunk)
        self._evaluated = None

    def text_features(self):
        """Unit text features of all classes [C, d]; kept between batches while evaluating."""
        if self._evaluated is None:
            prompts, eot, prefix = assemble(self.tokens, self.ctx.to(self.backbone[0].dtype), self.position)
            found = F.normalize(self.encode(prompts, eot, prefix).float(), dim=-1)
            if self.training or torch.is_grad_enabled():
                return found
            self._evaluated = found
        return self._evaluated

    def train(self, mode=True):
        self._evaluated = None
        return super().train(mode)

    def forward(self, features):
        return self.backbone[0].logit_scale.exp().float() * features @ self.text_features().t()

    def class_weights(self):
        """Unit vectors W [C, d] with logits = scale * f @ W^T."""
        return self.text_features()

    def for_classes(self, classnames):
        ctx = self.ctx.detach()
        if ctx.dim() == 3:
            rows, unknown = find_positions(classnames, self.classnames)
            if unknown:
                raise ClassesUnsupported(
                    f"CoOp with class-specific contexts (TRAINER.COOP.CSC True) has no context for {len(unknown)} "
                    "classes it was not trained on, "
                    f"such as '{unknown[0]}'; use CSC False"
                )
            ctx = ctx[rows]
        return CoOpHead(self.backbone[0], classnames, ctx, self.position, self.encode.chunk)


@register
class CoOp(FeatureTrainer):
    SECTION = "COOP"
    MODEL_NAME = "prompt_learner"  # stock CoOp's checkpoints load

    def build_head(self, classnames):
        options = self.options
        ctx = announced_context(self.backbone, options, len(classnames) if options.CSC else None)
        return CoOpHead(self.backbone, classnames, ctx, options.CLASS_TOKEN_POSITION, options.CHUNK)


register_ship(CoOp)
