"""KgCoOp: Visual-Language Prompt Tuning with Knowledge-guided Context Optimization (Yao et al., CVPR 2023,
https://arxiv.org/abs/2303.13283).

CoOp whose learned text features are held near those of the hand-written prompt: L = L_ce + lambda L_kg, lambda = 8.
The paper writes L_kg as the mean squared distance ||w_i - w_i^clip||^2, the authors' code as 1 - mean cosine: on unit
vectors half of it. We follow the code, and its templates: CoOp's, but for textures. Also from the code: a context of 4
tokens from "a photo of a", batches of 128, 100 epochs.
"""

import torch.nn.functional as F

from .coop import CoOp
from .core import Range, encode_classes
from .plugins import register_twins


@register_twins
class KgCoOp(CoOp):
    SECTION = "KGCOOP"
    OPTIONS = {
        "N_CTX": 4,
        "CTX_INIT": "a photo of a",
        "W": 8.0,  # lambda, the weight of the knowledge-guided loss
    }
    LIMITS = {"W": Range(0)}
    TEMPLATES = {"DescribableTextures": "a photo of a {}, a type of texture."}  # unlike CoOp's

    def build_head(self, classnames):
        templates = self.announced_templates()
        self.knowledge = encode_classes(self.backbone, templates, classnames)  # w^clip [C, d], unit norm
        return super().build_head(classnames)

    def compute_loss(self, features, labels):
        logits = self.head(features)
        distance = 1 - (self.head.text_features() * self.knowledge).sum(-1).mean()
        return F.cross_entropy(logits.float(), labels) + self.options.W * distance, logits
