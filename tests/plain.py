"""Prompt learners as their authors wrote them: "X X X X name." tokenised, the context over the X, all 77 positions."""

import torch
import torch.nn.functional as F

from trainers.core.model.prompts import tokenize


def plain_prompts(backbone, names, ctx, position="end"):
    """-> (embeddings [C, 77, w], positions of EOT [C]) of names under a context [n, w], or one each [C, n, w]."""
    n = ctx.shape[-2]
    names = [name.replace("_", " ") for name in names]
    tokens = tokenize([" ".join(["X"] * n) + f" {name}." for name in names])
    embedded, rows = backbone.token_embedding(tokens), []
    half = {"end": n, "middle": n // 2, "front": 0}[position]
    for i, name in enumerate(names):
        own, length = ctx[i] if ctx.dim() == 3 else ctx, int((tokenize([name]) != 0).sum()) - 2
        sos, word, rest = embedded[i, :1], embedded[i, 1 + n : 1 + n + length], embedded[i, 1 + n + length :]
        rows.append(torch.cat([sos, own[:half], word, own[half:], rest]))
    return torch.stack(rows), tokens.argmax(-1)


def plain_text_features(backbone, names, ctx, position="end"):
    """Unit text features [C, d]."""
    return F.normalize(backbone.encode_prompts_plain(*plain_prompts(backbone, names, ctx, position)), dim=-1)


def hand_written(backbone, names, template="a photo of a {}."):
    """Unit text features [C, d] of the hand-written prompt."""
    tokens = tokenize([template.format(name.replace("_", " ")) for name in names])
    return F.normalize(backbone.encode_text_plain(tokens).detach(), dim=-1)


def unit(count, width, seed=0):
    """Unit rows [count, width]."""
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()
