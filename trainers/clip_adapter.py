"""CLIP-Adapter: Better Vision-Language Models with Feature Adapters (Gao et al., https://arxiv.org/abs/2110.04544).

A bottleneck MLP behind the frozen image encoder, blended with what it adapts. The authors feed it the encoder's raw
features; ours are on the unit sphere, which changes nothing: without biases the adapter is positively homogeneous, and
the blend is normalised afterwards.
"""

import torch.nn as nn
import torch.nn.functional as F

from .core import FeatureTrainer, Range, ZeroshotHead
from .plugins import register_twins


class CLIPAdapterHead(nn.Module):
    """Unit features [B, d] -> logits [B, C] of ratio * A(x) + (1 - ratio) * x, back on the unit sphere."""

    def __init__(self, adapter, ratio, zero_shot):
        super().__init__()
        self.adapter, self.ratio, self.zero_shot = adapter, ratio, zero_shot

    def forward(self, features):
        blended = self.ratio * self.adapter(features) + (1 - self.ratio) * features
        return self.zero_shot(F.normalize(blended.float(), dim=-1))

    def for_classes(self, classnames):
        return CLIPAdapterHead(self.adapter, self.ratio, self.zero_shot.for_classes(classnames))


@register_twins
class CLIP_Adapter(FeatureTrainer):
    SECTION = "CLIP_ADAPTER"
    OPTIONS = {
        "RATIO": 0.2,  # the adapter's share of the blend
        "REDUCTION": 4,  # d / REDUCTION hidden units
    }
    LIMITS = {"RATIO": Range(0, 1), "REDUCTION": Range(1)}
    MODEL_NAME = "clip_adapter"

    def build_head(self, classnames):
        zero_shot = ZeroshotHead(self.backbone, self.announced_templates(), classnames)
        width = self.backbone.embed_dim
        hidden = width // self.options.REDUCTION
        down, up = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)  # as in the released code
        return CLIPAdapterHead(nn.Sequential(down, nn.ReLU(), up, nn.ReLU()), self.options.RATIO, zero_shot)
