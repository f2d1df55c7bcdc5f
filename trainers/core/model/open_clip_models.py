"""Models of the package open_clip, brought into the layout of OpenAI's text tower: open_clip:<model>/<pretrained>."""

import hashlib
import os

import torch
from torch import nn

from ..files import UserError, nearest, verified_sha256
from .prompts import tokenize
from .towers import CLIP

PREFIX = "open_clip:"
VOCABULARY = 49408  # CLIP's tokens


@torch.no_grad()
def load(name):
    """Backbone's arguments but the name, for "open_clip:ViT-B-32/laion2b_s34b_b79k" (or .../path of a weight file).

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
        clip = in_openai_layout(model)
        require_same_features(clip, model)
    except Exception as error:  # no network, a damaged file, a tower of another kind
        raise UserError(
            f"{name} cannot be used ({error!r:.300}). It must have CLIP's text tower, as "
            "open_clip:ViT-B-16/laion2b_s34b_b88k has; without a network, bring its weights here and set "
            f"MODEL.BACKBONE.NAME {PREFIX}{architecture}/FILE"
        ) from error
    pixels = open_clip.get_model_preprocess_cfg(model)
    size = pixels["size"]
    size, interpolation = size if isinstance(size, int) else size[0], pixels.get("interpolation", "bicubic")
    return clip, hash_tensors(model.state_dict()), pixels["mean"], pixels["std"], size, interpolation


def in_openai_layout(model):
    """towers.CLIP with the model's image tower and its text tower. Raises AttributeError or RuntimeError where this has
    other parts, or another vocabulary."""
    text = getattr(model, "text", model)  # CustomTextCLIP keeps its text tower apart
    state = {key.removeprefix("text."): value for key, value in model.state_dict().items()}
    if isinstance(text.text_projection, nn.Linear):
        state["text_projection"] = state.pop("text_projection.weight").t().contiguous()
    state["logit_scale"] = state["logit_scale"].reshape(())
    (width, embed_dim), blocks = state["text_projection"].shape, text.transformer.resblocks
    positions, heads = len(state["positional_embedding"]), blocks[0].attn.num_heads
    clip = CLIP(model.visual, embed_dim, positions, VOCABULARY, width, len(blocks), heads)
    clip.load_state_dict(state)
    clip.ln_final.eps = text.ln_final.eps
    for own, theirs in zip(clip.transformer.resblocks, blocks, strict=True):
        own.ln_1.eps, own.ln_2.eps = theirs.ln_1.eps, theirs.ln_2.eps
        if type(theirs.mlp.gelu).__name__ != "QuickGELU":
            own.mlp.gelu = theirs.mlp.gelu
    return clip


def require_same_features(clip, model):
    """Raises RuntimeError where a text has other features in CLIP's layout than in the model."""
    ids = tokenize(["a photo of a dog.", "cat"])
    x = clip.transformer((clip.token_embedding(ids) + clip.positional_embedding).transpose(0, 1)).transpose(0, 1)
    features = clip.ln_final(x)[torch.arange(len(ids)), ids.argmax(-1)] @ clip.text_projection
    if not torch.allclose(features, model.encode_text(ids), atol=1e-4):
        raise RuntimeError("it gives texts other features than CLIP's layout does")


def hash_tensors(state):
    """sha256 over names, dtypes, shapes and values of a state dict, for weights that come without a file."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
