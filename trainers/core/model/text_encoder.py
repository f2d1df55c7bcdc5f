"""The exact, fast text encoder: CLIP's frozen text tower without the work that cannot influence its output.

The tower is causal and its feature is read at EOT. So, exactly: nothing behind EOT is computed; a start that all
prompts share is computed once and its keys and values serve every row; in the last block only EOT needs a query; and
rows of different lengths are packed, so that linear layers see real tokens and almost no padding. Gradients reach
prompts and prefix only.

Shapes: N rows, T tokens a row, P prefix tokens, M = P + all tokens of all rows, w the tower's width, H heads.
"""

from copy import copy, deepcopy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from .layout import Part, Plan, plan
from .memory import fitting_chunk

PLANS = 8  # kept; a head has a few, and lengths that are drawn anew in each step shall not pile up
QUICK_GELU = 1.702  # x * sigmoid(1.702 x) = silu(1.702 x) / 1.702


class TextEncoder(nn.Module):
    """Prompt embeddings -> text features, equal to the backbone's own 77-token path. Has no parameters of its own.

    chunk > 0 works through the rows in chunks of that many and computes each again in the backward pass, so that memory
    does not grow with the number of rows; 0 does so where the free memory asks for it.
    """

    def __init__(self, backbone, chunk=0):
        super().__init__()
        self._backbone = (backbone,)  # in a tuple, so that it is neither a sub-module nor in the state dict
        self.chunk, self._plans = chunk, {}

    def forward(self, prompts, eot, prefix=None):
        """prompts [N, L, w], token embeddings without positions; prefix [P, w] precedes every row; eot [N] counts from
        the start of the full sequence (on the CPU it saves a synchronisation) -> features [N, d], not normalised.

        Raises ValueError where EOT lies outside its row or the sequence is longer than the tower's positions.
        """
        (backbone,) = self._backbone
        layout = self.planned(tuple(eot.tolist()), 0 if prefix is None else len(prefix), *prompts.shape[:2])
        shared, positions = layout.shared, backbone.positional_embedding
        # [N, longest, w], [P, w]
        x = prompts[:, : layout.longest].to(backbone.dtype) + positions[shared : shared + layout.longest]
        start = None if prefix is None else prefix.to(backbone.dtype) + positions[:shared]
        if len(layout.parts) == 1:
            features = encode_rows(backbone, x, layout.parts[0], start=start)
        else:
            cache = None if start is None else prefix_cache(backbone, start)
            again = {"use_reentrant": False, "preserve_rng_state": False}
            features = torch.cat(
                [checkpoint(encode_rows, backbone, x, part, cache=cache, **again) for part in layout.parts]
            )
        return pick(features, layout.back)

    def planned(self, eot: tuple[int, ...], shared: int, rows: int, tokens: int) -> Plan:
        """The layout of `rows` prompts of `tokens` tokens behind `shared` ones, made at the first call."""
        key = eot, shared, rows, tokens, torch.is_grad_enabled()
        if key not in self._plans:
            (backbone,) = self._backbone
            lengths = [position + 1 - shared for position in eot]
            shortest, longest = min(lengths), max(lengths)
            if len(lengths) != rows or shortest < 1 or longest > tokens:
                raise ValueError(
                    f"{len(lengths)} EOT positions, {shortest + shared - 1} to {longest + shared - 1}, do not "
                    f"fit {rows} prompts of {tokens} tokens behind a prefix of {shared}"
                )
            if shared + longest > backbone.context_length:
                raise ValueError(
                    f"prompts of {shared + longest} tokens; the tower has {backbone.context_length} positions"
                )
            while len(self._plans) >= PLANS:
                self._plans.pop(next(iter(self._plans)))
            chunk = self.chunk or fitting_chunk(backbone, lengths, shared)
            self._plans[key] = plan(lengths, shared, chunk, backbone.dtype, backbone.device)
        return self._plans[key]


def in_fp32(backbone):
    """The backbone itself where it is in float32, else a copy of its text side in float32 (without its image tower)."""
    if backbone.dtype == torch.float32:
        return backbone
    text_side = copy(backbone)
    text_side._modules = {name: module for name, module in backbone._modules.items() if name != "visual"}
    return deepcopy(text_side).float()


def encode_rows(backbone, x, part: Part, start=None, cache=None):
    """Features [n, d] of the rows of `part`, in its order, of x [N, L, w] (positions added).

    `start` [P, w] is the shared prefix, computed along with the rows; `cache` is what prefix_cache made of it before.
    """
    packed = pick(x.flatten(0, 1), part.index)
    packed = packed if start is None else torch.cat([start, packed])
    eot, _ = run_tower(backbone, packed, 0 if start is None else len(start), part.groups, part.ends, cache)
    return layer_norm(backbone.ln_final, eot) @ backbone.text_projection


def prefix_cache(backbone, start):
    """Keys and values [P, H, w / H] of a prefix [P, w] (positions added) in each block."""
    return run_tower(backbone, start, len(start), [], None, None)[1]


def run_tower(backbone, x, shared, groups, ends, cache):
    """x [M, w], `shared` prefix tokens, then each group's rows -> states [N, w] at `ends`; the prefix's keys, values.

    `cache` has the keys and values of a prefix that is not part of x.
    """
    sizes = [shared] + [group.rows * group.length for group in groups]
    *blocks, last = backbone.transformer.resblocks
    seen = list(cache or [])
    for depth, block in enumerate(blocks):
        prefix, *parts = project(block.attn, layer_norm(block.ln_1, x)).split(sizes)
        q, k, v = prefix.unbind(1)
        out = []
        if shared:
            seen.append((k, v))
            out.append(attend(q[None], k[None], v[None], causal=True))
        for group, part in zip(groups, parts, strict=True):
            q, k, v = part.unflatten(0, (group.rows, group.length)).unbind(2)
            out.append(attend(q, k, v, seen[depth] if seen else None, group.causal, causal=group.causal is None))
        x = residual(block, x, torch.cat(out))
    # The last block: keys and values of every token, but of EOT alone the query and all that follows it.
    width, y = x.shape[1], layer_norm(last.ln_1, x)
    prefix, *parts = project(last.attn, y, slice(width, None)).split(sizes)
    if shared:
        seen.append(prefix.unbind(1))
    if not groups:
        return None, seen
    queries = project(last.attn, pick(y, ends), slice(width)).split([group.rows for group in groups])
    out = []
    for group, q, part in zip(groups, queries, parts, strict=True):
        k, v = part.unflatten(0, (group.rows, group.length)).unbind(2)
        out.append(attend(q, k, v, seen[-1] if seen else None, group.at_eot))
    return residual(last, pick(x, ends), torch.cat(out)), seen


def project(attention, y, rows=slice(None)):
    """Queries, keys and values (or those that `rows` of the fused weight give) of y [M, w] -> [M, 1..3, H, w / H]."""
    weight, bias = attention.in_proj_weight[rows], attention.in_proj_bias[rows]
    return F.linear(y, weight, bias).view(len(y), -1, attention.num_heads, attention.head_dim)


def attend(q, k, v, prefix=None, mask=None, causal=False):
    """q [N, t, H, h] over k, v [N, T, H, h], preceded by the prefix's keys and values [P, H, h] -> [N * t, H * h]."""
    if prefix is not None:
        k, v = (
            torch.cat([first.expand(len(rest), *first.shape), rest], 1)
            for first, rest in zip(prefix, (k, v), strict=True)
        )
    q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    return out.transpose(1, 2).flatten(2).flatten(0, 1)


def residual(block, x, attended):
    """x [M, w] and the heads' output [M, w] -> the block's output [M, w]."""
    x = x + F.linear(attended, block.attn.out_proj.weight, block.attn.out_proj.bias)
    fc, gelu, proj = block.mlp.c_fc, block.mlp.gelu, block.mlp.c_proj
    y = layer_norm(block.ln_2, x)
    if type(gelu).__name__ == "QuickGELU":  # its factors are free inside the products before and behind it
        hidden = torch.addmm(fc.bias, y, fc.weight.t(), beta=QUICK_GELU, alpha=QUICK_GELU)
        return x + torch.addmm(proj.bias, F.silu(hidden), proj.weight.t(), alpha=1 / QUICK_GELU)
    return x + proj(gelu(fc(y)))


def layer_norm(module, x):
    """Layer norm in float32 whatever the tower's precision, as in CLIP."""
    return F.layer_norm(x.float(), module.normalized_shape, module.weight, module.bias, module.eps).to(x.dtype)


def pick(x, index):
    """Rows of x [R, w] by index [K] -> [K, w] (as an embedding look-up, whose backward is parallel on a CPU)."""
    return F.embedding(index, x)
