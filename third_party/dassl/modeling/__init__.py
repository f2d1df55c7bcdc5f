"""Networks by name. The registries start empty: upstream's networks are not here, CoOp-style code registers its own."""

from .backbone import BACKBONE_REGISTRY, build_backbone
from .head import HEAD_REGISTRY, build_head

__all__ = ["BACKBONE_REGISTRY", "HEAD_REGISTRY", "build_backbone", "build_head"]
