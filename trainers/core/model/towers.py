"""CLIP's two towers under OpenAI's names, so that state dicts in OpenAI's naming load into them.

They are our own, not those of an installed package `clip`: the copies of it in other people's checkouts change the
transformers, and methods that prompt inside the towers need the states between the blocks. A ResNet, which nobody
changes, is the package's.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """In float32 whatever its input is."""

    def forward(self, x):
        return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """A residual attention block: [T, N, w] -> [T, N, w]."""

    def __init__(self, width, heads):
        super().__init__()
        self.attn, self.ln_1, self.ln_2 = nn.MultiheadAttention(width, heads), LayerNorm(width), LayerNorm(width)
        parts = {"c_fc": nn.Linear(width, 4 * width), "gelu": QuickGELU(), "c_proj": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(parts))

    def forward(self, x, mask=None):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """`causal`: no token sees a later one."""

    def __init__(self, width, layers, heads, causal=False):
        super().__init__()
        self.causal = causal
        self.resblocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])

    def forward(self, x, before=None):
        """[T, N, w] -> [T, N, w]. `before(depth, x)` gives what block `depth` (from 0) sees in place of its input, as
        [N, T, w]; it may have more tokens."""
        for depth, block in enumerate(self.resblocks):
            if before is not None:
                x = before(depth, x.transpose(0, 1)).transpose(0, 1)
            mask = x.new_full((len(x), len(x)), float("-inf")).triu(1) if self.causal else None
            x = block(x, mask)
        return x


class VisionTransformer(nn.Module):
    """Images [B, 3, H, W] -> features [B, d]."""

    def __init__(self, input_resolution, patch_size, width, layers, heads, output_dim):
        super().__init__()
        self.input_resolution, self.width = input_resolution, width
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((input_resolution // patch_size) ** 2 + 1, width))
        self.ln_pre, self.ln_post = LayerNorm(width), LayerNorm(width)
        self.transformer = Transformer(width, layers, heads)
        self.proj = nn.Parameter(torch.empty(width, output_dim))

    def states(self, images: Tensor, appended: Tensor | None = None, before=None) -> Tensor:
        """The last block's tokens [B, T, w], the class token first, then the patches, then `appended` [n, w], which
        have no position. `before` as for Transformer."""
        patches = self.conv1(images.to(self.conv1.weight.dtype)).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(patches), 1, -1), patches], 1) + self.positional_embedding
        if appended is not None:
            x = insert(x, appended, x.shape[1])
        return self.transformer(self.ln_pre(x).transpose(0, 1), before).transpose(0, 1)

    def feature(self, token: Tensor) -> Tensor:
        """A token of the last block [B, w], the class token as a rule -> [B, d]."""
        return self.ln_post(token) @ self.proj

    def forward(self, images):
        return self.feature(self.states(images)[:, 0])


class AttentionPool(nn.Module):
    """The end of a ResNet, [B, w, h, h] -> [B, d]: the mean of the places asks all places. (The package's own adds up
    in another order, which would move features in their last bits.)"""

    def __init__(self, side, width, heads, output_dim):
        super().__init__()
        self.heads, self.positional_embedding = heads, nn.Parameter(torch.empty(side**2 + 1, width))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, output_dim)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.positional_embedding
        projected = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in projected)
        return self.c_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1))


class CLIP(nn.Module):
    """Parameters without values: for a state dict to be loaded into."""

    def __init__(self, visual, embed_dim, context_length, vocab_size, width, layers, heads=None):
        super().__init__()
        self.visual = visual
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        self.transformer = Transformer(width, layers, heads or heads_of(width), causal=True)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        self.logit_scale = nn.Parameter(torch.empty(()))


ABOUT = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI's archives carry beside the weights


def heads_of(width: int) -> int:
    """CLIP's attention heads are 64 wide."""
    return max(1, width // 64)


def build_clip(state: dict[str, Tensor]) -> CLIP:
    """CLIP in float32 from a state dict in OpenAI's naming; all sizes are read off the tensors' shapes. Raises KeyError
    or RuntimeError where it does not fit."""
    state = {name: value.float() for name, value in state.items() if name not in ABOUT}
    width, embed_dim = state["text_projection"].shape
    positions, vocabulary = len(state["positional_embedding"]), len(state["token_embedding.weight"])
    with torch.device("meta"):  # no memory, and no random numbers
        visual = _image_tower(state, embed_dim)
        model = CLIP(visual, embed_dim, positions, vocabulary, width, _count(state, "transformer.resblocks."))
    model.load_state_dict(state, assign=True)
    return model.eval()


def _image_tower(state, embed_dim):
    if "visual.proj" in state:
        width, _, _, patch = state["visual.conv1.weight"].shape
        size = patch * round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
        layers = _count(state, "visual.transformer.resblocks.")
        return VisionTransformer(size, patch, width, layers, heads_of(width), embed_dim)
    from clip.model import ModifiedResNet

    width = len(state["visual.layer1.0.conv1.weight"])
    side, heads = round((len(state["visual.attnpool.positional_embedding"]) - 1) ** 0.5), heads_of(32 * width)
    layers = [_count(state, f"visual.layer{stage}.") for stage in (1, 2, 3, 4)]
    tower = ModifiedResNet(layers, embed_dim, heads, 32 * side, width)
    tower.attnpool = AttentionPool(side, 32 * width, heads, embed_dim)
    return tower


def _count(state, prefix):
    """How many numbered parts a module has."""
    return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})


# ---- learned tokens among those of a sequence


def insert(x: Tensor, tokens: Tensor, at: int) -> Tensor:
    """x [N, T, w] with `tokens` [n, w], or [N, n, w], in front of position `at`."""
    return torch.cat([x[:, :at], tokens.to(x.dtype).expand(len(x), -1, -1), x[:, at:]], 1)


def overwrite(x: Tensor, tokens: Tensor, at: int) -> Tensor:
    """x [N, T, w] with `tokens` [n, w], or [N, n, w], in place of those from position `at` on."""
    after = at + tokens.shape[-2]
    return torch.cat([x[:, :at], tokens.to(x.dtype).expand(len(x), -1, -1), x[:, after:]], 1)
