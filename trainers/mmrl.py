"""MMRL: Multi-Modal Representation Learning for Vision-Language Models (Guo and Gu, CVPR 2025,
https://arxiv.org/abs/2503.08497).

A set R of tokens in a space of its own is mapped into both towers, by a linear function of each layer in REP_LAYERS,
and stands behind the first token of the sequence there. An image has two features: f of the class token, and r of its
representation tokens through a projection of their own. With g the text features and V, T the frozen CLIP's:

    z = 100 f g,  z_r = 100 r g,  logits = SCALE z + (1 - SCALE) z_r
    L = SCALE L_ce(z) + (1 - SCALE) L_ce(z_r) + REG_WEIGHT (1 - mean cos(f, V)) + REG_WEIGHT (1 - mean cos(g, T))

Names that were trained with images are scored by these logits, all others by z alone, also where both stand together:
r adapts to the trained classes. From the authors' code: the prompt is the data set's hand-written one, no word of it
is learned; the logits' scale is 100; the functions of a tower start equal; r is the mean over the tokens.

Training and evaluation need images. Synthetic rows of a plug-in have no image: each stands for f and r alike, and
trains the text side alone.
"""

from copy import deepcopy

import torch
import torch.nn as nn
import torch.nn.functional as F

from .core import FeatureTrainer, PromptHead, Range, UserError, encode_classes
from .core.deep_prompts import require_blocks
from .core.heads import which_are_base
from .core.model.prompts import embed_words
from .core.model.towers import insert, overwrite
from .plugins import register_twins


class MMRLHead(PromptHead):
    """Features [f, r] of images [B, 2 d], each of unit norm -> logits [B, C]; [B, d] stands for both alike."""

    def __init__(self, backbone, classnames, template, options, with_images):
        """`with_images`: the names that are trained with images."""
        words, _, pattern = template.partition("{}")
        words = embed_words(backbone, words)
        super().__init__(backbone, classnames, len(words), options.CHUNK, "{}" + pattern)
        self.register_buffer("words", words, persistent=False)
        self.alpha, self.with_images = options.SCALE, list(with_images)
        self.blocks = [layer - 1 for layer in sorted(options.REP_LAYERS)]
        dim, width = options.REP_DIM, backbone.visual.width
        self.compound_rep_tokens = nn.Parameter(0.02 * torch.randn(options.N_REP_TOKENS, dim))
        to_text, to_image = nn.Linear(dim, backbone.width), nn.Linear(dim, width)
        self.compound_rep_tokens_r2tproj = nn.ModuleList([deepcopy(to_text) for _ in self.blocks])
        self.compound_rep_tokens_r2vproj = nn.ModuleList([deepcopy(to_image) for _ in self.blocks])
        self.proj_rep = nn.Parameter(torch.randn(width, backbone.embed_dim) * width**-0.5)

    def get_extra_state(self):
        """The names with images, as bytes: part of a checkpoint."""
        return torch.tensor(list("\n".join(self.with_images).encode()), dtype=torch.uint8)

    def set_extra_state(self, state):
        self.with_images = bytes(state.tolist()).decode().split("\n") if len(state) else []

    @property
    def logit_scale(self):
        return self.proj_rep.new_tensor(100.0)

    def before(self, projections):
        """The tokens behind the first one of a sequence, as Transformer and TextEncoder take them."""
        tokens = {block: project(self.compound_rep_tokens) for block, project in zip(self.blocks, projections)}

        def before(depth, x):
            if depth not in tokens:
                return x
            return (insert if depth == self.blocks[0] else overwrite)(x, tokens[depth], 1)

        return before

    def encode_names(self, tokens):
        return self.encode(tokens, self.words, before=self.before(self.compound_rep_tokens_r2tproj))

    def encode_image(self, images):
        """Images [B, 3, H, W] -> [B, 2 d]."""
        visual, count = self.backbone.visual, len(self.compound_rep_tokens)
        states = visual.states(images, before=self.before(self.compound_rep_tokens_r2vproj))
        of_tokens = visual.ln_post(states[:, 1 : 1 + count]).mean(1).float() @ self.proj_rep
        parts = visual.feature(states[:, 0]).float(), of_tokens.float()
        return torch.cat([F.normalize(part, dim=-1) for part in parts], 1)

    def scores(self, features):
        """-> z, z_r, each [B, C]."""
        text, dim = self.text_features(), self.backbone.embed_dim
        return [self.logit_scale * part @ text.t() for part in (features[:, :dim], features[:, -dim:])]

    def join(self, of_class, of_tokens):
        """z, z_r -> logits [B, C]: the fusion of both for names with images, z for all others."""
        known = which_are_base(self.classnames, self.with_images).to(of_class.device)
        return torch.where(known, self.alpha * of_class + (1 - self.alpha) * of_tokens, of_class)

    def forward(self, features):
        return self.join(*self.scores(features))

    def class_weights(self):
        return None


@register_twins
class MMRL(FeatureTrainer):
    SECTION = "MMRL"
    OPTIONS = {
        "SCALE": 0.7,  # alpha of the paper, the share of the class feature
        "REG_WEIGHT": 1.0,  # of the distances to the frozen CLIP
        "N_REP_TOKENS": 5,
        "REP_LAYERS": (6, 7, 8, 9, 10, 11, 12),  # counted from 1, as in the paper
        "REP_DIM": 512,  # of the tokens' own space
        "CHUNK": 0,  # class names per text-encoder pass with recomputation; 0: by free memory
    }
    LIMITS = {"SCALE": Range(0, 1), "REG_WEIGHT": Range(0), "N_REP_TOKENS": Range(1)}
    LEARNS_PROMPTS, TUNES_IMAGES = True, True

    def build_head(self, classnames):
        options, templates = self.options, self.announced_templates()
        for layer in (min(options.REP_LAYERS), max(options.REP_LAYERS)):
            require_blocks(self.backbone, layer, "TRAINER.MMRL.REP_LAYERS")
        if len(templates) > 1:
            raise UserError(f"MMRL needs one hand-written prompt, and DATASET.TEMPLATE has {len(templates)}")
        self.knowledge = encode_classes(self.backbone, templates, classnames)  # T [C, d]
        with_images = self.task.real_classnames() if self.task else classnames
        return MMRLHead(self.backbone, classnames, templates[0], options, with_images)

    def compute_loss(self, features, labels):
        head, alpha, frozen = self.head, self.options.SCALE, self.frozen_features()  # V [B, d]
        of_class, of_tokens = (part.float() for part in head.scores(features))
        loss = alpha * F.cross_entropy(of_class, labels) + (1 - alpha) * F.cross_entropy(of_tokens, labels)
        distance = 1 - (head.text_features() * self.knowledge).sum(1).mean()
        if len(frozen):
            distance = distance + 1 - (features[: len(frozen), : frozen.shape[1]] * frozen).sum(1).mean()
        return loss + self.options.REG_WEIGHT * distance, head.join(of_class, of_tokens)
