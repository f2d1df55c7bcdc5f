"""Backbones to measure with: MiniCLIP, and random weights in the true shape of ViT-B/16."""

import torch
from dassl.config import get_cfg_default

from trainers.core.model.backbone import Backbone, load_backbone
from trainers.core.model.openai_clip import PIXEL_MEAN, PIXEL_STD, import_clip


def mini_clip():
    cfg = get_cfg_default()
    cfg.MODEL.BACKBONE.NAME = "MiniCLIP"
    return load_backbone(cfg)


def vit_b16():
    """150 million random weights in the shape of CLIP ViT-B/16: 12 layers of width 512 for text, of 768 for images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # output width; image size, layers, width, patch; positions, vocabulary, text width, heads, layers
        clip = import_clip().model.CLIP(512, 224, 12, 768, 16, 77, 49408, 512, 8, 12)
    return Backbone(clip, "random", "", PIXEL_MEAN, PIXEL_STD, 224)


TOWERS = {"MiniCLIP": mini_clip, "ViT-B/16": vit_b16}
