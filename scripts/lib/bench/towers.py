"""Backbones and class names to measure with: MiniCLIP, and random weights in the true shape of ViT-B/16."""

import torch
from dassl.config import get_cfg_default

from trainers.core.model.backbone import Backbone, load_backbone
from trainers.core.model.openai_clip import PIXEL_MEAN, PIXEL_STD, import_clip

ADJECTIVES = "red tiny old striped wooden wild common electric mountain sea".split()
NOUNS = (
    "dog sparrow airplane chair sunflower bridge lamp guitar turtle castle leopard cup tractor violin "
    "pagoda beaver crab dolphin umbrella camera barrel cannon anchor bonsai brain buddha ewer ferry flamingo "
    "garfield"
).split()


def class_names(count: int) -> list[str]:
    """`count` different names of one to three words: 10 short ones, 100 of two words on average, 1000 of 2.6."""
    pairs = [f"{first} {second} " for first in ADJECTIVES for second in ADJECTIVES if first != second]
    before = [""] + [words for both in zip(ADJECTIVES, pairs, strict=False) for words in (f"{both[0]} ", both[1])]
    before += pairs[len(ADJECTIVES) :]
    return [words + noun for words in before for noun in NOUNS][:count]


def mini_clip():
    cfg = get_cfg_default()
    cfg.MODEL.BACKBONE.NAME = "MiniCLIP"
    return load_backbone(cfg)


def vit_b16():
    """150 million random weights in the shape of CLIP ViT-B/16: 12 layers of width 512 for text, of 768 for images."""
    image = {"image_resolution": 224, "vision_layers": 12, "vision_width": 768, "vision_patch_size": 16}
    text = {"transformer_width": 512, "transformer_heads": 8, "transformer_layers": 12}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = import_clip().model.CLIP(embed_dim=512, context_length=77, vocab_size=49408, **image, **text)
    return Backbone(clip, "random", "", PIXEL_MEAN, PIXEL_STD, image["image_resolution"])


TOWERS = {"MiniCLIP": mini_clip, "ViT-B/16": vit_b16}
