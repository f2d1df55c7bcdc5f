"""TCP: Textual-based Class-aware Prompt tuning for Visual-Language Model (Yao et al., CVPR 2024,
https://arxiv.org/abs/2311.18231).

A context shared by all classes, as CoOp's, and in the middle of the text tower, before block LAYER, prompts of each
class's own in its place: Q_c = W2 a(W1 T_c + b1) + b2, made of T_c, the unit text feature of the hand-written prompt.
The learned text features g_c are held near T_c: L = L_ce + W (1 - mean cos(g_c, T_c)).

From the authors' code: a is QuickGELU; the hidden width is a quarter of the features'; the prompts replace the context
entirely; W is 8 whatever its configuration says; what stands around the name differs by data set, as do the
hand-written prompts, which are CoCoOp's but for three data sets.
"""

from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F

from .core import PromptHead, PromptTrainer, UserError, register
from .core.config import Range
from .core.model.prompts import encode_classes
from .core.model.towers import QuickGELU, overwrite
from .plugins import register_twins

# What follows the learned context; "{}." where nothing is said.
PATTERNS = {
    "OxfordPets": "{}, a type of pet.",
    "OxfordFlowers": "{}, a type of flower.",
    "FGVCAircraft": "{}, a type of aircraft.",
    "DescribableTextures": "{} texture.",
    "StanfordCars": "{}, a type of car",
    "Food101": "{}, a type of food.",
    "UCF101": "person doing {}.",
}


class Knowledge:
    """Names -> T [N, d], unit text features under hand-written prompts; each name is encoded once."""

    def __init__(self, backbone, templates):
        self.backbone, self.templates, self.known = backbone, templates, {}

    def __call__(self, names):
        new = [name for name in dict.fromkeys(names) if name not in self.known]
        if new:
            self.known.update(zip(new, encode_classes(self.backbone, self.templates, new)))
        return torch.stack([self.known[name] for name in names])


class TCPHead(PromptHead):
    def __init__(self, backbone, classnames, ctx, knowledge, pattern, layer, chunk=0):
        self.knowledge, self.layer = knowledge, layer  # first: tokens_of asks for it
        super().__init__(backbone, classnames, len(ctx), chunk, pattern)
        self.ctx = nn.Parameter(ctx.float())
        inputs, hidden, outputs = backbone.embed_dim, max(backbone.embed_dim // 4, 1), ctx.numel()
        parts = {"linear1": nn.Linear(inputs, hidden), "relu": QuickGELU(), "linear2": nn.Linear(hidden, outputs)}
        self.meta_net = nn.Sequential(OrderedDict(parts))

    def tokens_of(self, names):
        self.knowledge(names)  # all at once: in other batches, as names come, the last bits would differ
        return super().tokens_of(names)

    def encode_names(self, tokens):
        of_classes = self.meta_net(self.knowledge(tokens.names)).view(-1, *self.ctx.shape)  # Q [N, n, w]

        def before_rows(depth, x, rows):
            return overwrite(x, of_classes[rows], 0) if depth == self.layer else x

        return self.encode(tokens, self.ctx.expand(len(tokens), -1, -1), before_rows=before_rows)


@register
class TCP(PromptTrainer):
    SECTION = "TCP"
    OPTIONS = {
        "N_CTX": 4,
        "LAYER": 8,  # the block, counted from 0, before which the class's own prompts come in
        "W": 8.0,  # weight of the distance to the hand-written prompts
    }
    LIMITS = {"LAYER": Range(1), "W": Range(0)}
    TEMPLATES = {
        "FGVCAircraft": "a photo of an aircraft {}.",
        "DescribableTextures": "a photo of a {}, a type of texture.",
        "Food101": "a photo of a {}, a type of food.",
    }
    MODEL_NAME = "prompt_learner"  # the authors' checkpoints load

    def build_head(self, classnames):
        options, blocks = self.options, len(self.backbone.transformer.resblocks)
        if not 0 < options.LAYER < blocks:
            raise UserError(
                f"TRAINER.TCP.LAYER is {options.LAYER}; the text tower of {self.backbone.name} has {blocks} blocks, so "
                f"it must be 1 to {blocks - 1}"
            )
        knowledge = Knowledge(self.backbone, self.announced_templates())
        self.knowledge, ctx = knowledge(classnames), self.initial_context()
        pattern = PATTERNS.get(self.cfg.DATASET.NAME, "{}.")
        return TCPHead(self.backbone, classnames, ctx, knowledge, pattern, options.LAYER, options.CHUNK)

    def compute_loss(self, features, labels):
        logits = self.head(features)
        distance = 1 - (self.head.text_features() * self.knowledge).sum(-1).mean()
        return F.cross_entropy(logits.float(), labels) + self.options.W * distance, logits


register_twins(TCP)
