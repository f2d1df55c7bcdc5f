"""Models of the package open_clip, brought into the layout of OpenAI's text tower: open_clip:<model>/<pretrained>."""

import os
from types import SimpleNamespace

from torch import nn

from ..files import UserError, nearest, verified_sha256
from .towers import LayerNorm, Transformer

PREFIX = "open_clip:"


def load(name):
    """Backbone's arguments for a name such as "open_clip:ViT-B-32/laion2b_s34b_b79k" (or .../path of a weight file).

    Instead of a hash there is "state", the whole state dict to be hashed. It is float32, whatever the run's precision:
    rounded weights would have another hash, and banks and generators made in float32 would be refused.
    """
    try:
        import open_clip
    except ImportError as error:
        raise UserError(f"{name!r} needs the package open_clip: pip install open_clip_torch ({error})") from error
    architecture, _, pretrained = name.removeprefix(PREFIX).partition("/")
    available = [f"{PREFIX}{model}/{tag}" for model, tag in open_clip.list_pretrained()]
    if name not in available and not (architecture in open_clip.list_models() and os.path.isfile(pretrained)):
        raise UserError(
            f"open_clip has no {name.removeprefix(PREFIX)!r}; nearest: {', '.join(nearest(name, available)[:8])}"
        )
    if os.path.isfile(pretrained):
        verified_sha256(pretrained)  # refuses a file that the digest beside it does not fit
    try:
        model = open_clip.create_model(architecture, pretrained=pretrained, precision="fp32")
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"open_clip cannot load {name!r} ({type(error).__name__}: {reason}). "
            "Without a network, bring the weight file here and set "
            f"MODEL.BACKBONE.NAME {PREFIX}{architecture}/<its path>"
        ) from error
    pixels = open_clip.get_model_preprocess_cfg(model)
    size = pixels["size"]
    return {
        "model": in_openai_layout(model, name),
        "state": model.state_dict(),
        "pixel_mean": pixels["mean"],
        "pixel_std": pixels["std"],
        "input_size": size if isinstance(size, int) else size[0],
        "interpolation": pixels.get("interpolation", "bicubic"),
    }


def in_openai_layout(model, name):
    """Visual tower as it is, text tower under OpenAI's names; UserError for a text tower that is not CLIP's."""
    text = getattr(model, "text", model)  # CustomTextCLIP keeps its text tower apart
    projection = getattr(text, "text_projection", None)
    if isinstance(projection, nn.Linear) and projection.bias is None:
        projection = nn.Parameter(projection.weight.detach().t().contiguous())
    standard = {
        "a transformer with residual blocks": hasattr(getattr(text, "transformer", None), "resblocks"),
        "a causal mask": getattr(text, "attn_mask", None) is not None,
        "CLIP's vocabulary of 49408 tokens": getattr(text, "vocab_size", None) == 49408,
        "77 positions": getattr(text, "context_length", None) == 77,
        "its feature read at EOT": getattr(text, "pool_type", getattr(text, "text_pool_type", None)) == "argmax",
        "no class token": getattr(text, "cls_emb", None) is None,
        "a projection without bias": isinstance(projection, nn.Parameter),
        "no bias on its logits": getattr(model, "logit_bias", None) is None,
    }
    lacking = [what for what, there in standard.items() if not there]
    if lacking:
        raise UserError(
            f"{name}: its text tower is not CLIP's, which prompt learning here is written for. It lacks "
            f"{', '.join(lacking)}. Take a model with CLIP's text tower, such as "
            "open_clip:ViT-B-16/laion2b_s34b_b88k"
        )
    blocks, width = text.transformer.resblocks, text.token_embedding.embedding_dim
    transformer = Transformer(width, len(blocks), blocks[0].attn.num_heads, causal=True)
    ln_final = LayerNorm(width)
    try:
        transformer.load_state_dict(text.transformer.state_dict())
    except RuntimeError as error:  # layer scale, scaled attention, another width of the MLP
        raise UserError(
            f"{name}: the blocks of its text tower are not CLIP's: {' '.join(str(error).split())[:300]}"
        ) from error
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
        logit_scale=nn.Parameter(model.logit_scale.detach().float().reshape(())),
    )
