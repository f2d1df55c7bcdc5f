"""Random backbones: a tiny one, and one of the true shape of ViT-B/16's text tower."""

from types import SimpleNamespace

import torch
from torch import nn

from trainers.core.model.backbone import Backbone
from trainers.core.model.open_clip_models import hash_tensors
from trainers.core.model.openai_clip import PIXEL_MEAN, PIXEL_STD
from trainers.core.model.towers import LayerNorm, Transformer


class TinyImageTower(nn.Module):
    """Mean colour of 4 x 4 patches, then a linear layer: [B, 3, H, W] -> [B, d]."""

    def __init__(self, embed_dim):
        super().__init__()
        self.pool, self.proj = nn.AdaptiveAvgPool2d(4), nn.Linear(48, embed_dim)

    def forward(self, images):
        return self.proj(self.pool(images).flatten(1))


def tiny_clip(width=64, layers=2, heads=2, embed_dim=32, seed=0, dtype=torch.float32):
    """A Backbone with CLIP's initialisation, 77 positions and the true vocabulary; same seed, same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = Transformer(width, layers, heads, causal=True)
        for block in transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            for bias in (block.attn.in_proj_bias, block.attn.out_proj.bias, block.mlp.c_fc.bias, block.mlp.c_proj.bias):
                nn.init.normal_(bias, std=0.02)  # a bias of zero would hide one that is forgotten
        embedding = nn.Embedding(49408, width)
        nn.init.normal_(embedding.weight, std=0.02)
        norm = LayerNorm(width)
        nn.init.normal_(norm.bias, std=0.02)
        model = SimpleNamespace(
            visual=TinyImageTower(embed_dim),
            token_embedding=embedding,
            transformer=transformer,
            ln_final=norm,
            positional_embedding=nn.Parameter(torch.randn(77, width) * 0.01),
            text_projection=nn.Parameter(torch.randn(width, embed_dim) * width**-0.5),
            logit_scale=nn.Parameter(torch.tensor(4.6052)),
        )
        digest = hash_tensors({"projection": model.text_projection})
        return Backbone(model, "tiny", digest, PIXEL_MEAN, PIXEL_STD, 32, dtype=dtype)


def clip_of_true_shape(**kwargs):
    """12 layers, width 512, 8 heads, d = 512: ViT-B/16's text tower, with random weights and a trivial image tower."""
    return tiny_clip(width=512, layers=12, heads=8, embed_dim=512, **kwargs)
