"""MiniCLIP: a small real open-vocabulary model with CLIP's text architecture (see README.md beside this file).

    model = miniclip.load()                                # float32, eval mode, on the CPU
    image = model.encode_image(pixels)                     # [B, 3, 224, 224] -> [B, 256], unit norm
    text = model.encode_text(token_ids)                    # [N, <= 77] -> [N, 256], not normalised (as in CLIP)

The modules carry OpenAI CLIP's attribute names, so code written for its text tower works on this one.
"""

import hashlib
import json
import os

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn

WEIGHTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "miniclip.safetensors")
SHA256 = "c8e9501ca95a2da52622e5bc3668916110b5b5c2924bc31b76af7687054b0b49"  # of this file
PIXEL_MEAN, PIXEL_STD = (0.498,) * 3, (0.502,) * 3  # not CLIP's: the image tower was trained with these
INPUT_SIZE = 224


class ConSE(nn.Module):
    """Image tower: p = softmax(ImageNet logits / temperature), feature = unit(p @ class_embeddings - center)."""

    def __init__(self, embed_dim):
        super().__init__()
        import timm  # not at the top: the tokenizer beside this file does without it

        self.backbone = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        self.class_embeddings = nn.Parameter(torch.empty(self.backbone.num_classes, embed_dim))
        self.center = nn.Parameter(torch.empty(embed_dim))
        self.temperature = nn.Parameter(torch.empty(()))
        self.input_resolution, self.output_dim = INPUT_SIZE, embed_dim

    def forward(self, images):
        """[B, 3, H, W] -> [B, d], unit norm, in the dtype of the images."""
        probabilities = (self.backbone(images).float() / self.temperature.float()).softmax(-1)
        features = probabilities @ self.class_embeddings.float() - self.center.float()
        return F.normalize(features, dim=-1).to(images.dtype)


class LayerNorm(nn.LayerNorm):
    """Layer norm in float32 whatever the dtype of its input, as in CLIP."""

    def forward(self, x):
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """Pre-norm residual block of CLIP's text transformer; sequence first: [T, N, w] -> [T, N, w]."""

    def __init__(self, width, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1, self.ln_2 = LayerNorm(width), LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x):
        steps = x.shape[0]
        future = torch.full((steps, steps), float("-inf"), dtype=x.dtype, device=x.device).triu(1)
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=future)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads):
        super().__init__()
        self.width, self.layers = width, layers
        self.resblocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])

    def forward(self, x):
        return self.resblocks(x)


class MiniCLIP(nn.Module):
    def __init__(self, embed_dim, width, heads, layers, context_length, vocab_size):
        super().__init__()
        self.context_length, self.vocab_size = context_length, vocab_size
        self.visual = ConSE(embed_dim)
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        self.transformer = Transformer(width, layers, heads)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        self.logit_scale = nn.Parameter(torch.empty(()))  # natural logarithm of the scale, as in CLIP

    @property
    def dtype(self):
        return self.text_projection.dtype

    def encode_image(self, images):
        """[B, 3, 224, 224] -> [B, d], unit norm."""
        return self.visual(images.to(self.dtype))

    def encode_text(self, ids):
        """Token ids [N, T], T <= 77 -> [N, d], not normalised. The feature is read at EOT, the largest id of a row."""
        x = self.token_embedding(ids).to(self.dtype) + self.positional_embedding[: ids.shape[1]].to(self.dtype)
        x = self.ln_final(self.transformer(x.transpose(0, 1)).transpose(0, 1))
        return x[torch.arange(len(ids), device=ids.device), ids.argmax(-1)] @ self.text_projection


def load(path=WEIGHTS):
    """The model with its weights, float32, eval mode, on the CPU.

    Raises FileNotFoundError where the file is missing, ValueError where a byte of it has changed.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"MiniCLIP's weights are missing: expected {path}, a file of this repository")
    with open(path, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"MiniCLIP's weights {path} are damaged: their sha256 is {found}, expected {SHA256}; restore the file "
            "(git checkout)"
        )
    with safe_open(path, framework="pt") as file:
        arch = json.loads(file.metadata()["architecture"])
        state = {key: file.get_tensor(key) for key in file.keys()}
    # The token embedding is stored as int8 rows with a scale each; rows that are not listed are zero.
    rows = state.pop("token_embedding.rows").long()
    values, scale = state.pop("token_embedding.weight_int8"), state.pop("token_embedding.scale")
    embedding = torch.zeros(arch["vocab_size"], values.shape[1])
    embedding[rows] = values.float() * scale.float()[:, None]
    state = {key: value.float() for key, value in state.items()} | {"token_embedding.weight": embedding}
    model = MiniCLIP(
        arch["embed_dim"],
        arch["transformer_width"],
        arch["transformer_heads"],
        arch["transformer_layers"],
        arch["context_length"],
        arch["vocab_size"],
    )
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"{path} does not fit MiniCLIP: missing {missing[:5]}, unexpected {unexpected[:5]}")
    return model.eval()
