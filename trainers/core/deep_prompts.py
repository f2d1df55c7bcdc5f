"""Heads with prompts inside both towers. Images are encoded by the tower as the head tunes it; it must be a ViT of
towers.py, whose blocks can be prompted."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .files import UserError
from .heads import PromptHead
from .model.prompts import initial_context
from .model.towers import VisionTransformer, overwrite


def require_blocks(backbone, count: int, key: str):
    """Raises UserError where the image tower is no ViT of ours, or a tower has less than `count` blocks, which the
    option `key` asks for."""
    if not isinstance(backbone.visual, VisionTransformer):
        found = f"that of {backbone.name} is a {type(backbone.visual).__name__}"
        raise UserError(f"prompts inside the image tower need a ViT, as ViT-B/16 has; {found}")
    blocks = min(len(tower.resblocks) for tower in (backbone.transformer, backbone.visual.transformer))
    if not 1 <= count <= blocks:
        raise UserError(f"{key} asks for block {count}, and the towers of {backbone.name} have {blocks}")


def split_context(backbone, words: str, length: int) -> tuple[Tensor, Tensor]:
    """-> (where a context of `length` tokens starts [n, w], the rest of the words, which stay as they are [k, w]).
    Without words it starts at N(0, 0.02)."""
    ctx = initial_context(backbone, words, length)
    if not 1 <= length <= len(ctx):
        raise UserError(f"N_CTX is {length}; CTX_INIT '{words}' has {len(ctx)} tokens, so it must be 1 to {len(ctx)}")
    return ctx[:length], ctx[length:]


class DeepPromptHead(PromptHead):
    """A context ctx [n, w] before the name, in whose place other prompts stand before the blocks 1, 2, ... of the text
    tower; behind an image's patches prompts of its tower, in whose place others stand before its blocks 1, 2, ...

    A method gives `text_prompts()`, those before the blocks 1, 2, ..., each [n, w], and `image_prompts()`, those at the
    input and before the blocks 1, 2, ..., each [m, v]; v is the image tower's width.
    """

    def __init__(self, backbone, classnames: list[str], ctx: Tensor, words: Tensor, chunk: int = 0):
        super().__init__(backbone, classnames, len(ctx) + len(words), chunk)
        self.ctx = nn.Parameter(ctx.float())
        self.register_buffer("words", words, persistent=False)

    def encode_names(self, tokens):
        deep = self.text_prompts()

        def before(depth, x):
            return overwrite(x, deep[depth - 1], 1) if 1 <= depth <= len(deep) else x

        return self.encode(tokens, torch.cat([self.ctx, self.words]), before=before)

    def encode_image(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> unit features [B, d], differentiable in the prompts."""
        visual, (first, *deep) = self.backbone.visual, self.image_prompts()

        def before(depth, x):
            return overwrite(x, deep[depth - 1], x.shape[1] - len(first)) if 1 <= depth <= len(deep) else x

        return F.normalize(visual.feature(visual.states(images, first, before)[:, 0]).float(), dim=-1)
