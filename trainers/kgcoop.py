"""KgCoOp: Visual-Language Prompt Tuning with Knowledge-guided Context Optimization (Yao et al., CVPR 2023,
https://arxiv.org/abs/2303.13283).

CoOp whose learned text features are held near those of the hand-written prompt: L = L_ce + lambda L_kg, lambda = 8.
The paper writes L_kg as the mean squared distance ||w_i - w_i^clip||^2, the authors' code as 1 - mean cosine: on unit
vectors half of it. We follow the code, and its templates: CoOp's, but for textures. Also from the code: a context of 4
tokens from "a photo of a", batches of 128, 100 epochs.
"""

import torch.nn.functional as F

from .coop import CoOp
from .core import declare, register
from .core.model.prompts import encode_classes, templates_for
from .plugins import register_twins

TEMPLATES = {"DescribableTextures": "a photo of a {}, a type of texture."}  # unlike CoOp's


def extend_cfg(cfg):
    declare(
        cfg,
        "TRAINER.KGCOOP",
        N_CTX=4,  # context length
        CSC=False,  # class-specific contexts
        CTX_INIT="a photo of a",  # words to start from; they fix the context length
        PREC="auto",  # fp16, fp32, amp; auto: fp16 on a GPU, fp32 on a CPU
        CLASS_TOKEN_POSITION="end",  # end, middle or front
        CHUNK=0,  # class names per text-encoder pass with recomputation, to bound memory; 0: by free memory
        W=8.0,  # lambda, the weight of the knowledge-guided loss
    )


@register
class KgCoOp(CoOp):
    SECTION = "KGCOOP"

    def build_head(self, classnames):
        dataset = self.cfg.DATASET
        templates = templates_for(dataset.NAME, dataset.TEMPLATE or TEMPLATES.get(dataset.NAME))
        print(f"knowledge: {' | '.join(templates)}")
        self.knowledge = encode_classes(self.backbone, templates, classnames)  # w^clip [C, d], unit norm
        return super().build_head(classnames)

    def compute_loss(self, features, labels):
        logits = self.head(features)
        distance = 1 - (self.head.text_features() * self.knowledge).sum(-1).mean()
        return F.cross_entropy(logits.float(), labels) + self.options.W * distance, logits


register_twins(KgCoOp)
