"""Zero-shot CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020) with one hand-written prompt per dataset, as
CoOp's baseline."""

from .core import FeatureTrainer, Head, register
from .core.model.prompts import announced_templates, encode_classes
from .plugins import register_twins


class ZeroshotHead(Head):
    """Unit image features [B, d] -> logits [B, C]: cosine with the text feature of "a photo of a {}." times the logit
    scale (paper Eq. 1)."""

    def __init__(self, backbone, templates, classnames):
        super().__init__(backbone, classnames)
        self.templates = templates
        self.register_buffer("text_features", encode_classes(backbone, templates, classnames), persistent=False)

    def forward(self, features):
        return self.logit_scale * features @ self.text_features.t()

    def class_weights(self):
        """Unit vectors W [C, d] with logits = scale * f @ W^T."""
        return self.text_features

    def for_classes(self, classnames):
        return ZeroshotHead(self.backbone, self.templates, classnames)


@register
class ZeroshotCLIP(FeatureTrainer):
    trains = False

    def build_head(self, classnames):
        return ZeroshotHead(self.backbone, announced_templates(self.cfg), classnames)


register_twins(ZeroshotCLIP)
