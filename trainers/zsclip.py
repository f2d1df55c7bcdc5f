"""Zero-shot CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020) with one hand-written prompt per dataset, as
CoOp's baseline."""

from .core import FeatureTrainer, ZeroshotHead, register
from .core.model.prompts import announced_templates
from .plugins import register_twins


@register
class ZeroshotCLIP(FeatureTrainer):
    trains = False

    def build_head(self, classnames):
        return ZeroshotHead(self.backbone, announced_templates(self.cfg), classnames)


register_twins(ZeroshotCLIP)
