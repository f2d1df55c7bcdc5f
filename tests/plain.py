"""Prompt learners as their authors wrote them: "X X X X name." tokenised, the context over the X, all 77 positions."""

import torch
import torch.nn.functional as F

from trainers.core.model.prompts import tokenize


def plain_prompts(backbone, names, ctx, position="end"):
    """-> (embeddings [C, 77, w], tokens [C, 77]) of class names under a context [n, w], or one each [C, n, w]."""
    n = ctx.shape[-2]
    names = [name.replace("_", " ") for name in names]
    tokens = tokenize([" ".join(["X"] * n) + f" {name}." for name in names])
    embedded, rows = backbone.token_embedding(tokens), []
    half = {"end": n, "middle": n // 2, "front": 0}[position]
    for i, name in enumerate(names):
        own, length = ctx[i] if ctx.dim() == 3 else ctx, int((tokenize([name]) != 0).sum()) - 2
        sos, word, rest = embedded[i, :1], embedded[i, 1 + n : 1 + n + length], embedded[i, 1 + n + length :]
        rows.append(torch.cat([sos, own[:half], word, own[half:], rest]))
    return torch.stack(rows), tokens


def plain_text_features(backbone, names, ctx, position="end"):
    """Unit text features [C, d]."""
    prompts, tokens = plain_prompts(backbone, names, ctx, position)
    return F.normalize(backbone.encode_prompts_plain(prompts, tokens.argmax(-1)), dim=-1)


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()
