"""Learned tokens between the blocks of the fast text encoder, against the plain 77-token path."""

import pytest
import torch
from tiny_clip import tiny_clip

from trainers.core.model.prompts import ClassTokens, assemble
from trainers.core.model.text_encoder import TextEncoder
from trainers.core.model.towers import insert, overwrite

NAMES = ["dog", "a rather long name of a class", "grand_piano", "cat", "pizza", "umbrella stand"]
N_CTX, LAYERS, WIDTH = 3, 4, 64


def plain(backbone, prompts, eot, before, grown):
    """All 77 positions of prompts [N, L, w] through the tower's own blocks, read `grown` tokens behind EOT."""
    padded = torch.cat([prompts, torch.zeros(len(prompts), 77 - prompts.shape[1], WIDTH)], 1)
    x = (padded + backbone.positional_embedding).transpose(0, 1)
    x = backbone.ln_final(backbone.transformer(x, before).transpose(0, 1))
    return x[torch.arange(len(x)), eot + grown] @ backbone.text_projection


def learned(*shape):
    draw = torch.Generator().manual_seed(len(shape))
    return (0.3 * torch.randn(*shape, generator=draw)).requires_grad_()


def overwritten(tokens):
    """Shared tokens in place of positions 1 .. n before blocks 1 and 3."""
    return lambda depth, x: overwrite(x, tokens[depth], 1) if depth in (1, 3) else x


def inserted(tokens):
    """Shared tokens come in after the first position before block 1, and are overwritten before the later ones."""
    kinds = {1: insert, 2: overwrite, 3: overwrite}
    return lambda depth, x: kinds[depth](x, tokens[depth], 1) if depth in kinds else x


def of_rows(depth, tokens):
    """Tokens of each row's own before one block: -> (hook of the encoder, hook of the plain path)."""
    return (
        lambda at, x, rows: overwrite(x, tokens[rows], 0) if at == depth else x,
        lambda at, x: overwrite(x, tokens, 1) if at == depth else x,
    )


@pytest.mark.parametrize("chunk", [0, 2])
@pytest.mark.parametrize("kind", ["overwritten", "inserted", "rows before block 2", "rows before the last"])
def test_equals_the_plain_path(kind, chunk):
    backbone = tiny_clip(layers=LAYERS)
    classes, ctx = ClassTokens(NAMES, backbone, n_ctx=N_CTX), learned(N_CTX, WIDTH)
    if kind.startswith("rows"):
        tokens = learned(len(NAMES), N_CTX, WIDTH)
        fast, slow = of_rows(2 if "2" in kind else LAYERS - 1, tokens)
        hooks, grown, context = {"before_rows": fast}, 0, ctx.expand(len(NAMES), -1, -1)
    else:
        tokens, context = learned(LAYERS, N_CTX, WIDTH), ctx
        slow = {"overwritten": overwritten, "inserted": inserted}[kind](tokens)
        hooks, grown = {"before": slow}, N_CTX if kind == "inserted" else 0
    prompts, eot, prefix = assemble(classes, context)
    whole = torch.cat([prefix.expand(len(prompts), -1, -1), prompts], 1)
    found, gradients = [], []
    for features in (
        TextEncoder(backbone, chunk)(prompts, eot, prefix, **hooks),
        plain(backbone, whole, eot, slow, grown),
    ):
        found.append(features)
        gradients.append(torch.autograd.grad(features.square().sum(), [ctx, tokens], retain_graph=True))
    for ours, theirs in zip([found[0], *gradients[0]], [found[1], *gradients[1]]):
        assert theirs.norm() > 0 and (ours - theirs).norm() <= 1e-5 * theirs.norm()
    without = TextEncoder(backbone, chunk)(prompts, eot, prefix)
    assert (without - found[0]).norm() > 0.01 * without.norm()  # the tokens do matter
