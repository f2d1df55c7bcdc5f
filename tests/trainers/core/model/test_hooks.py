"""Learned tokens between the blocks of the fast text encoder, against the plain 77-token path."""

import pytest
import torch
from plain import relative
from tiny_clip import tiny_clip

from trainers.core.model.prompts import ClassTokens, assemble
from trainers.core.model.text_encoder import TextEncoder
from trainers.core.model.towers import insert, overwrite

NAMES = ["dog", "a rather long name of a class", "grand_piano", "cat", "pizza", "umbrella stand"]
N_CTX, LAYERS, WIDTH = 3, 4, 64
# Shared tokens in place of positions 1 .. n before some blocks; or they come in there, and are overwritten later.
SHARED = {"overwritten": {1: overwrite, 3: overwrite}, "inserted": {1: insert, 2: overwrite, 3: overwrite}}


def plain(backbone, prompts, eot, before, grown):
    """All 77 positions of prompts [N, L, w] through the tower's own blocks, read `grown` tokens behind EOT."""
    padded = torch.cat([prompts, torch.zeros(len(prompts), 77 - prompts.shape[1], WIDTH)], 1)
    x = (padded + backbone.positional_embedding).transpose(0, 1)
    x = backbone.ln_final(backbone.transformer(x, before).transpose(0, 1))
    return x[torch.arange(len(x)), eot + grown] @ backbone.text_projection


def learned(*shape):
    draw = torch.Generator().manual_seed(len(shape))
    return (0.3 * torch.randn(*shape, generator=draw)).requires_grad_()


@pytest.mark.parametrize("chunk", [0, 2])
@pytest.mark.parametrize("kind", [*SHARED, 2, LAYERS - 1])
def test_equals_the_plain_path(kind, chunk):
    """Of shared tokens, and of tokens of each row's own before the block `kind`."""
    backbone = tiny_clip(layers=LAYERS)
    classes, ctx, grown = ClassTokens(NAMES, backbone, n_ctx=N_CTX), learned(N_CTX, WIDTH), 0
    if kind in SHARED:
        tokens, context, grown = learned(LAYERS, N_CTX, WIDTH), ctx, N_CTX if kind == "inserted" else 0
        slow = lambda at, x: SHARED[kind][at](x, tokens[at], 1) if at in SHARED[kind] else x  # noqa: E731
        hooks = {"before": slow}
    else:
        tokens, context = learned(len(NAMES), N_CTX, WIDTH), ctx.expand(len(NAMES), -1, -1)
        slow = lambda at, x: overwrite(x, tokens, 1) if at == kind else x  # noqa: E731
        hooks = {"before_rows": lambda at, x, rows: overwrite(x, tokens[rows], 0) if at == kind else x}
    prompts, eot, prefix = assemble(classes, context)
    whole = torch.cat([prefix.expand(len(prompts), -1, -1), prompts], 1)
    ours = TextEncoder(backbone, chunk)(prompts, eot, prefix, **hooks)
    theirs = plain(backbone, whole, eot, slow, grown)
    assert relative(ours, theirs) <= 1e-5
    gradients = [
        torch.autograd.grad(found.square().sum(), [ctx, tokens], retain_graph=True) for found in (ours, theirs)
    ]
    assert all(relative(one, other) <= 1e-5 for one, other in zip(*gradients))
    assert relative(TextEncoder(backbone, chunk)(prompts, eot, prefix), ours) > 0.01  # the tokens do matter
