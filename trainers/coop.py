"""CoOp: Learning to Prompt for Vision-Language Models (Zhou et al., IJCV 2022, https://arxiv.org/abs/2109.01134)."""

import torch.nn as nn

from .core import PromptHead, PromptTrainer, RowHead
from .plugins import register_twins


class CoOpHead(PromptHead):
    """A learned context ctx [n, w] around class names: unit features [B, d] -> logits [B, C]."""

    def __init__(self, backbone, classnames, ctx, position="end", chunk=0, pattern="{}."):
        super().__init__(backbone, classnames, ctx.shape[-2], chunk, pattern)
        self.position, self.ctx = position, nn.Parameter(ctx.float())

    def encode_names(self, tokens):
        return self.encode(tokens, self.ctx, self.position)


class ClassSpecificHead(CoOpHead, RowHead):
    """The same with a context of its own for each class, ctx [C, n, w]."""

    UNKNOWN = "class-specific contexts (CSC True) exist for these alone; use CSC False"
    chosen = None  # the rows of ctx in use; None: all

    def encode_names(self, tokens):
        return self.encode(tokens, self.ctx if self.chosen is None else self.ctx[self.chosen], self.position)

    def for_classes(self, names):
        rows, head = self.rows(names), super().for_classes(names)
        head.chosen = rows if self.chosen is None else self.chosen[rows]
        return head


@register_twins
class CoOp(PromptTrainer):
    SECTION = "COOP"
    OPTIONS = {
        "CSC": False,  # class-specific contexts
        "CLASS_TOKEN_POSITION": "end",
    }
    LIMITS = {"CLASS_TOKEN_POSITION": ("end", "middle", "front")}
    MODEL_NAME = "prompt_learner"  # stock CoOp's checkpoints load

    def build_head(self, classnames):
        options = self.options
        ctx = self.initial_context(len(classnames) if options.CSC else None)
        kind = ClassSpecificHead if ctx.dim() == 3 else CoOpHead  # words to start from are shared, as in CoOp
        return kind(self.backbone, classnames, ctx, options.CLASS_TOKEN_POSITION, options.CHUNK)
