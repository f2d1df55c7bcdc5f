"""Backbones to measure with: MiniCLIP, and random weights in the true shape of ViT-B/16."""

import torch
from dassl.config import get_cfg_default

from trainers.core.model.backbone import Backbone, load_backbone
from trainers.core.model.openai_clip import PIXEL_MEAN, PIXEL_STD
from trainers.core.model.towers import CLIP, VisionTransformer


def mini_clip():
    cfg = get_cfg_default()
    cfg.MODEL.BACKBONE.NAME = "MiniCLIP"
    return load_backbone(cfg)


def vit_b16():
    """150 million random weights in the shape of CLIP ViT-B/16: 12 layers of width 512 for text, of 768 for images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        visual = VisionTransformer(224, patch_size=16, width=768, layers=12, heads=12, output_dim=512)
        clip = CLIP(visual, embed_dim=512, context_length=77, vocab_size=49408, width=512, layers=12)
        for parameter in clip.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
    return Backbone(clip, "random", "", PIXEL_MEAN, PIXEL_STD, 224)


TOWERS = {"MiniCLIP": mini_clip, "ViT-B/16": vit_b16}
