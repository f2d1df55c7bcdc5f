"""TCP: Textual-based Class-aware Prompt tuning for Visual-Language Model (Yao et al., CVPR 2024,
https://arxiv.org/abs/2311.18231).

A context shared by all classes, as CoOp's, and in the middle of the text tower, before block LAYER, prompts of each
class's own in its place: Q_c = W2 a(W1 T_c + b1) + b2, made of T_c, the unit text feature of the hand-written prompt.
The learned text features g_c are held near T_c: L = L_ce + W (1 - mean cos(g_c, T_c)).

From the authors' code: a is QuickGELU; the hidden width is a quarter of the features'; the prompts replace the context
entirely; W is 8 whatever its configuration says; what stands around the name differs by data set, as do the
hand-written prompts, which are CoCoOp's but for three data sets.
"""

import torch

from .cocoop import meta_net
from .coop import CoOpHead
from .core import PromptTrainer, Range, UserError, encode_classes
from .core.model.towers import QuickGELU, overwrite
from .kgcoop import KgCoOp
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


class TCPHead(CoOpHead):
    def __init__(self, backbone, classnames, ctx, templates, pattern, layer, chunk=0):
        self.templates, self.layer, self.known = templates, layer, {}  # first: tokens_of asks for them
        super().__init__(backbone, classnames, ctx, chunk=chunk, pattern=pattern)
        self.meta_net = meta_net(backbone.embed_dim, max(backbone.embed_dim // 4, 1), ctx.numel(), QuickGELU)

    def tokens_of(self, names):
        """T of the names is made all at once: in other batches, as names come, the last bits would differ."""
        new = [name for name in dict.fromkeys(names) if name not in self.known]
        if new:
            self.known.update(zip(new, encode_classes(self.backbone, self.templates, new)))
        return super().tokens_of(names)

    def knowledge(self, names):
        """T [N, d], unit text features of the names under hand-written prompts."""
        return torch.stack([self.known[name] for name in names])

    def encode_names(self, tokens):
        of_classes = self.meta_net(self.knowledge(tokens.names)).view(-1, *self.ctx.shape)  # Q [N, n, w]

        def before_rows(depth, x, rows):
            return overwrite(x, of_classes[rows], 0) if depth == self.layer else x

        return self.encode(tokens, self.ctx.expand(len(tokens), -1, -1), before_rows=before_rows)


@register_twins
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
        if options.LAYER >= blocks:
            raise UserError(f"TRAINER.TCP.LAYER is {options.LAYER}, and the text tower has {blocks} blocks: set less")
        pattern = PATTERNS.get(self.cfg.DATASET.NAME, "{}.")
        parts = self.initial_context(), self.announced_templates(), pattern, options.LAYER, options.CHUNK
        head = TCPHead(self.backbone, classnames, *parts)
        self.knowledge = head.knowledge(classnames)
        return head

    compute_loss = KgCoOp.compute_loss
