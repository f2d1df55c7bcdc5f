"""Zero-shot CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020) with one hand-written prompt per dataset, as
CoOp's baseline."""

from .core import FeatureTrainer, ZeroshotHead
from .plugins import register_twins


@register_twins
class ZeroshotCLIP(FeatureTrainer):
    trains = False

    def build_head(self, classnames):
        return ZeroshotHead(self.backbone, self.announced_templates(), classnames)
