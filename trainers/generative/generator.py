"""The generators G(z, c): SHIP's through prompts (paper section 3.2, Eq. 3 and 4), and the one from scratch of its
Table 4."""

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..core.model.prompts import assemble
from ..core.model.text_encoder import TextEncoder
from .nets import INIT_STD, ClassFeatures, mlp


class PromptGenerator(nn.Module):
    """z [B, k] and class names -> unit features [B, d] through the frozen text encoder.

    r = MLP(z); p(z) = [p_1 + r, ..., p_L + r] (Eq. 3); x~ = T({p(z), e_c}) (Eq. 4), the prompt being
    `p_1 .. p_L name.`. The options are those of the paper's Table 5: without `use_global` p(z) is the bias alone; with
    `sequential` every position has its own bias r_i.
    """

    def __init__(self, backbone, n_ctx, latent_dim, hidden_dim, use_global=True, sequential=False):
        super().__init__()
        self.backbone, self.n_ctx, self.latent_dim = [backbone], n_ctx, latent_dim
        self.bias = mlp(latent_dim, hidden_dim, backbone.width * (n_ctx if sequential else 1))
        self.prompts = nn.Parameter(torch.randn(n_ctx, backbone.width) * INIT_STD) if use_global else None
        self.encode = TextEncoder(backbone)

    def synthesize_prompts(self, z):
        """p(z) [B, L, w] (Eq. 3)."""
        bias = self.bias(z).view(len(z), -1, self.backbone[0].width)
        return bias.expand(-1, self.n_ctx, -1) if self.prompts is None else self.prompts + bias

    def forward(self, z, labels, classes):
        """Features of classes `labels` [B] among `classes` (a ClassTokens) for the latents `z` [B, k] -> [B, d], unit
        norm (Eq. 4)."""
        ctx = self.synthesize_prompts(z).to(self.backbone[0].dtype)
        prompts, eot, prefix = assemble(classes, ctx, index=labels)
        return F.normalize(self.encode(prompts, eot, prefix).float(), dim=-1)


class FeatureGenerator(nn.Module):
    """z [B, k] and class names -> unit features [B, d] by a three-layer network that starts from scratch (Table 4,
    "S").

    x~ = unit(MLP([z; t_c])), t_c being the class's text feature: all that this generator knows of CLIP.
    """

    def __init__(self, backbone, latent_dim, hidden_dim):
        super().__init__()
        self.latent_dim, self.class_features = latent_dim, ClassFeatures(backbone)
        self.layers = mlp(latent_dim + backbone.embed_dim, hidden_dim, hidden_dim, backbone.embed_dim)

    def forward(self, z, labels, classes):
        """Features of classes `labels` [B] among `classes` (a ClassTokens) for the latents `z` [B, k] -> [B, d], unit
        norm."""
        return F.normalize(self.layers(torch.cat([z, self.class_features(classes)[labels]], 1)), dim=-1)
