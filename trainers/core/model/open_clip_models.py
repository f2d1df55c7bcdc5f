"""Models of the package open_clip, brought into the layout of OpenAI's text tower: open_clip:<model>/<pretrained>."""

import hashlib
import os
from types import SimpleNamespace

import torch
from torch import nn

from ..files import UserError, nearest, verified_sha256
from .prompts import tokenize
from .towers import LayerNorm, Transformer

PREFIX = "open_clip:"


@torch.no_grad()
def load(name):
    """Backbone's arguments for a name such as "open_clip:ViT-B-32/laion2b_s34b_b79k" (or .../path of a weight file).

    The hash is that of the whole state dict in float32, whatever the run's precision: rounded weights would have
    another one, and banks and generators made in float32 would be refused. Raises UserError where it cannot be had, or
    its text tower is not CLIP's.
    """
    try:
        import open_clip
    except ImportError as error:
        raise UserError(f"{name!r} needs the package open_clip: pip install open_clip_torch ({error})") from error
    architecture, _, pretrained = name.removeprefix(PREFIX).partition("/")
    if os.path.isfile(pretrained):
        verified_sha256(pretrained)  # refuses a file that the digest beside it does not fit
    elif (architecture, pretrained) not in open_clip.list_pretrained():
        known = [f"{PREFIX}{model}/{tag}" for model, tag in open_clip.list_pretrained()]
        raise UserError(f"open_clip has no {architecture}/{pretrained}; nearest: {', '.join(nearest(name, known)[:8])}")
    try:
        model = open_clip.create_model(architecture, pretrained=pretrained, precision="fp32").eval()
        layout = in_openai_layout(model)
        require_same_features(layout, model)
    except Exception as error:  # no network, a damaged file, a tower of another kind
        raise UserError(
            f"{name} cannot be used ({error!r:.300}). It must have CLIP's text tower, as "
            "open_clip:ViT-B-16/laion2b_s34b_b88k has; without a network, bring its weights here and set "
            f"MODEL.BACKBONE.NAME {PREFIX}{architecture}/FILE"
        ) from error
    pixels = open_clip.get_model_preprocess_cfg(model)
    size = pixels["size"]
    return {
        "model": layout,
        "weights_hash": hash_tensors(model.state_dict()),
        "pixel_mean": pixels["mean"],
        "pixel_std": pixels["std"],
        "input_size": size if isinstance(size, int) else size[0],
        "interpolation": pixels.get("interpolation", "bicubic"),
    }


def in_openai_layout(model):
    """Visual tower as it is, text tower under OpenAI's names. Raises AttributeError or RuntimeError where it has other
    parts."""
    text = getattr(model, "text", model)  # CustomTextCLIP keeps its text tower apart
    projection = text.text_projection
    if isinstance(projection, nn.Linear):
        projection = nn.Parameter(projection.weight.t().contiguous())
    blocks, width = text.transformer.resblocks, text.token_embedding.embedding_dim
    transformer, ln_final = Transformer(width, len(blocks), blocks[0].attn.num_heads, causal=True), LayerNorm(width)
    transformer.load_state_dict(text.transformer.state_dict())
    ln_final.load_state_dict(text.ln_final.state_dict())
    ln_final.eps = text.ln_final.eps
    for own, theirs in zip(transformer.resblocks, blocks, strict=True):
        own.ln_1.eps, own.ln_2.eps = theirs.ln_1.eps, theirs.ln_2.eps
        if type(theirs.mlp.gelu).__name__ != "QuickGELU":
            own.mlp.gelu = theirs.mlp.gelu
    return SimpleNamespace(
        visual=model.visual,
        token_embedding=text.token_embedding,
        transformer=transformer,
        ln_final=ln_final,
        positional_embedding=text.positional_embedding,
        text_projection=projection,
        logit_scale=nn.Parameter(model.logit_scale.float().reshape(())),
    )


def require_same_features(layout, model):
    """Raises RuntimeError where a text has other features in CLIP's layout than in the model, the vocabulary is another
    one, or logits have a bias."""
    ids = tokenize(["a photo of a dog.", "cat"])
    x = layout.transformer((layout.token_embedding(ids) + layout.positional_embedding).transpose(0, 1)).transpose(0, 1)
    features = layout.ln_final(x)[torch.arange(len(ids)), ids.argmax(-1)] @ layout.text_projection
    if not torch.allclose(features, model.encode_text(ids), atol=1e-4):
        raise RuntimeError("it gives texts other features than CLIP's layout does")
    if layout.token_embedding.num_embeddings != 49408 or getattr(model, "logit_bias", None) is not None:
        raise RuntimeError("it has another vocabulary, or a bias on its logits")


def hash_tensors(state):
    """sha256 over names, dtypes, shapes and values of a state dict, for weights that come without a file."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
