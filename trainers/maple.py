"""MaPLe: Multi-modal Prompt Learning (Khattak et al., CVPR 2023, https://arxiv.org/abs/2210.03117).

Text prompts P_0 at the input and P_1, ..., P_{J-1} in their place before the next blocks of the text tower; image
prompts are linear functions of them, V_i = F_i(P_i), so each P_i has gradients of both towers.

From the authors' code: the first prompt starts at the first words of "a photo of a", of which those behind the N_CTX
learned ones stay as they are; the couplings F_1, ..., F_{J-1} start equal; N_CTX is 2 and J 9; batches of 4, 5 epochs.

Training and evaluation need images. Synthetic rows of a plug-in have no image: they train the text side alone.
"""

from copy import deepcopy

import torch
import torch.nn as nn

from .core import PromptTrainer
from .core.deep_prompts import DeepPromptHead, require_blocks, split_context
from .plugins import register_twins


class MaPLeHead(DeepPromptHead):
    def __init__(self, backbone, classnames, ctx, words, depth, chunk=0):
        super().__init__(backbone, classnames, ctx, words, chunk)
        widths = backbone.width, backbone.visual.width
        self.proj, coupling = nn.Linear(*widths), nn.Linear(*widths)
        self.compound_prompts_text = nn.ParameterList([0.02 * torch.randn(ctx.shape) for _ in range(depth - 1)])
        self.compound_prompt_projections = nn.ModuleList([deepcopy(coupling) for _ in range(depth - 1)])

    def text_prompts(self):
        return list(self.compound_prompts_text)

    def image_prompts(self):
        couplings = [self.proj, *self.compound_prompt_projections]
        return [couple(prompt) for couple, prompt in zip(couplings, [self.ctx, *self.compound_prompts_text])]


@register_twins
class MaPLe(PromptTrainer):
    SECTION = "MAPLE"
    OPTIONS = {
        "N_CTX": 2,
        "CTX_INIT": "a photo of a",
        "PROMPT_DEPTH": 9,  # J, how many blocks have prompts, the first included
    }
    TUNES_IMAGES = True

    def build_head(self, classnames):
        options = self.options
        require_blocks(self.backbone, options.PROMPT_DEPTH, "TRAINER.MAPLE.PROMPT_DEPTH")
        ctx, words = split_context(self.backbone, options.CTX_INIT, options.N_CTX)
        return MaPLeHead(self.backbone, classnames, ctx, words, options.PROMPT_DEPTH, options.CHUNK)
