"""The exact, fast text encoder: CLIP's frozen text tower without the work that cannot influence its output.

The tower is causal and its feature is read at EOT. So, exactly: nothing behind EOT is computed; a start that all
prompts share is computed once and its keys and values serve every row; in the last block only EOT needs a query; and
rows of different lengths are packed, so that linear layers see real tokens and almost no padding. Gradients reach
prompts and prefix only.

Shapes: N rows, T tokens a row, P prefix tokens, M = P + all tokens of all rows, w the tower's width, H heads.
"""

import os
from copy import copy, deepcopy
from functools import lru_cache, partial
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..data import to_device

PLANS = 8  # kept; a head has a few, and lengths that are drawn anew in each step shall not pile up
QUICK_GELU = 1.702  # x * sigmoid(1.702 x) = silu(1.702 x) / 1.702


# Shorter rows join a group of longer ones when that adds at most so many tokens of padding: a group of its own costs
# one more attention call a layer, which is worth a few tokens of linear layers on a CPU and thousands on a GPU.
PADDING = {"cpu": 8, "cuda": 8192}


class Group(NamedTuple):
    """Rows that attend together: `rows` of them, each `length` tokens long without the prefix, padding included."""

    rows: int
    length: int
    members: Tensor  # which rows of all [rows]
    causal: Tensor | None  # additive mask [T, P + T], lower right; None without a prefix: plain causal attention
    at_eot: Tensor | None  # the mask at each row's EOT [rows, 1, 1, P + T]; None where no row has padding


class Part(NamedTuple):
    """Rows that go through the tower together, in order of their lengths, packed group after group."""

    groups: list[Group]
    index: Tensor  # of each packed token among the tokens of all rows, which are `longest` apart
    ends: Tensor  # of each row's EOT among the packed tokens, a prefix that is packed with them included


class Plan(NamedTuple):
    longest: int
    parts: list[Part]  # more than one: the prefix's keys and values are computed before, and not packed with the rows
    back: Tensor  # where each row went [N]


class TextEncoder(nn.Module):
    """Prompt embeddings -> text features, equal to the backbone's own 77-token path. Has no parameters of its own.

    chunk > 0 works through the rows in chunks of that many and computes each again in the backward pass, so that memory
    does not grow with the number of rows; 0 does so where the free memory asks for it.
    """

    def __init__(self, backbone, chunk=0):
        super().__init__()
        self._backbone = (backbone,)  # in a tuple, so that it is neither a sub-module nor in the state dict
        self.plan = lru_cache(PLANS)(partial(plan, backbone, chunk))

    def forward(self, prompts, eot, prefix=None, before=None, before_rows=None):
        """prompts [N, L, w], token embeddings without positions; prefix [P, w] precedes every row; eot [N] counts from
        the start of the full sequence (on the CPU it saves a synchronisation) -> features [N, d], not normalised.

        `before(depth, x)` gives what block `depth` (from 0) sees in place of the prefix, x [1, P, w]; it may have more
        tokens from there on. `before_rows(depth, x, rows)` gives the same of x [n, T, w], the tokens behind the prefix
        of the rows `rows` [n].

        Raises RuntimeError where EOT lies outside its row or the sequence is longer than the tower's positions.
        """
        (backbone,) = self._backbone
        shared, positions = 0 if prefix is None else len(prefix), backbone.positional_embedding
        lengths = tuple(position + 1 - shared for position in eot.tolist())
        layout = self.plan(lengths, shared, torch.is_grad_enabled())
        # [N, longest, w], [P, w]
        x = prompts[:, : layout.longest].to(backbone.dtype) + positions[shared : shared + layout.longest]
        start = None if prefix is None else prefix.to(backbone.dtype) + positions[:shared]
        if len(layout.parts) == 1:
            features = encode_rows(backbone, x, layout.parts[0], start, None, before, before_rows)
        else:
            cache = None if start is None else run_tower(backbone, start, shared, [], None, None, before)[1]
            again = partial(checkpoint, encode_rows, use_reentrant=False, preserve_rng_state=False)
            features = torch.cat([again(backbone, x, part, None, cache, None, before_rows) for part in layout.parts])
        return pick(features, layout.back)


def in_fp32(backbone):
    """The backbone itself where it is in float32, else a copy of its text side in float32 (without its image tower)."""
    if backbone.dtype == torch.float32:
        return backbone
    text_side = copy(backbone)
    text_side._modules = {name: module for name, module in backbone._modules.items() if name != "visual"}
    return deepcopy(text_side).float()


def encode_rows(backbone, x, part: Part, start=None, cache=None, before=None, before_rows=None):
    """Features [n, d] of the rows of `part`, in its order, of x [N, L, w] (positions added).

    `start` [P, w] is the shared prefix, computed along with the rows; `cache` has its keys and values where it was
    computed before.
    """
    packed = pick(x.flatten(0, 1), part.index)
    packed = packed if start is None else torch.cat([start, packed])
    shared = 0 if start is None else len(start)
    eot, _ = run_tower(backbone, packed, shared, part.groups, part.ends, cache, before, before_rows)
    return backbone.ln_final(eot) @ backbone.text_projection


def run_tower(backbone, x, shared, groups, ends, cache, before=None, before_rows=None):
    """x [M, w], `shared` prefix tokens, then each group's rows -> states [N, w] at `ends`; the prefix's keys, values.

    `cache` has the keys and values of a prefix that is not part of x.
    """
    sizes = [shared] + [group.rows * group.length for group in groups]
    *blocks, last = backbone.transformer.resblocks
    seen = list(cache or [])
    for depth, block in enumerate(blocks):
        x, ends = replaced(depth, x, sizes, groups, ends, before, before_rows)
        prefix, *parts = project(block.attn, block.ln_1(x)).split(sizes)
        q, k, v = prefix.unbind(1)
        out = []
        if sizes[0]:
            seen.append((k, v))
            out.append(attend(q[None], k[None], v[None], causal=True))
        for group, part in zip(groups, parts, strict=True):
            q, k, v = part.unflatten(0, (group.rows, group.length)).unbind(2)
            out.append(attend(q, k, v, seen[depth] if seen else None, group.causal, causal=group.causal is None))
        x = residual(block, x, torch.cat(out))
    # The last block: keys and values of every token, but of EOT alone the query and all that follows it.
    x, ends = replaced(len(blocks), x, sizes, groups, ends, before, before_rows)
    width, y = x.shape[1], last.ln_1(x)
    prefix, *parts = project(last.attn, y, slice(width, None)).split(sizes)
    if sizes[0]:
        seen.append(prefix.unbind(1))
    if not groups:
        return None, seen
    queries = project(last.attn, pick(y, ends), slice(width)).split([group.rows for group in groups])
    out = []
    for group, q, part in zip(groups, queries, parts, strict=True):
        k, v = part.unflatten(0, (group.rows, group.length)).unbind(2)
        out.append(attend(q, k, v, seen[-1] if seen else None, group.at_eot))
    return residual(last, pick(x, ends), torch.cat(out)), seen


def replaced(depth, x, sizes, groups, ends, before, before_rows):
    """-> (x [M, w] as the two hooks of TextEncoder.forward want block `depth` to see it, `ends` in it); the prefix's
    size in `sizes` follows."""
    if before is None and before_rows is None:
        return x, ends
    prefix, *parts = x.split(sizes)
    if before is not None and sizes[0]:
        prefix = before(depth, prefix[None])[0]
        ends = None if ends is None else ends + (len(prefix) - sizes[0])
        sizes[0] = len(prefix)
    if before_rows is not None:
        rows = [part.unflatten(0, (group.rows, group.length)) for group, part in zip(groups, parts)]
        parts = [before_rows(depth, part, group.members).flatten(0, 1) for group, part in zip(groups, rows)]
    return torch.cat([prefix, *parts]), ends


def project(attention, y, rows=slice(None)):
    """Queries, keys and values (or those that `rows` of the fused weight give) of y [M, w] -> [M, 1..3, H, w / H]."""
    weight, bias = attention.in_proj_weight[rows], attention.in_proj_bias[rows]
    return F.linear(y, weight, bias).view(len(y), -1, attention.num_heads, attention.head_dim)


def attend(q, k, v, prefix=None, mask=None, causal=False):
    """q [N, t, H, h] over k, v [N, T, H, h], preceded by the prefix's keys and values [P, H, h] -> [N * t, H * h].
    Where the prefix has grown since the mask was made, its further tokens are seen."""
    if prefix is not None:
        k, v = (torch.cat([first.expand(len(rest), *first.shape), rest], 1) for first, rest in zip(prefix, (k, v)))
    if mask is not None and mask.shape[-1] < k.shape[1]:
        mask = F.pad(mask, (k.shape[1] - mask.shape[-1], 0))
    q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    return out.transpose(1, 2).flatten(2).flatten(0, 1)


def residual(block, x, attended):
    """x [M, w] and the heads' output [M, w] -> the block's output [M, w]."""
    x = x + F.linear(attended, block.attn.out_proj.weight, block.attn.out_proj.bias)
    fc, gelu, proj = block.mlp.c_fc, block.mlp.gelu, block.mlp.c_proj
    y = block.ln_2(x)
    if type(gelu).__name__ == "QuickGELU":  # its factors are free inside the products before and behind it
        hidden = torch.addmm(fc.bias, y, fc.weight.t(), beta=QUICK_GELU, alpha=QUICK_GELU)
        return x + torch.addmm(proj.bias, F.silu(hidden), proj.weight.t(), alpha=1 / QUICK_GELU)
    return x + proj(gelu(fc(y)))


def pick(x, index):
    """Rows of x [R, w] by index [K] -> [K, w] (as an embedding look-up, whose backward is parallel on a CPU)."""
    return F.embedding(index, x)


# ---- where prompts of different lengths lie when they are packed: what depends on the lengths alone, planned once. N
# rows; P prefix tokens before each; T tokens of a row behind the prefix. Tensors are on the device of the tower.


def plan(backbone, chunk: int, lengths: tuple[int, ...], shared: int, backward: bool) -> Plan:
    """For rows of `lengths` tokens [N] behind `shared` ones, EOT being the last; chunk > 0: at most that many rows a
    part; 0: as many as fit into memory if a `backward` pass follows, else all."""
    if backward and not chunk:
        chunk = fitting_chunk(backbone, lengths, shared)
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    longest, step, device = lengths[order[-1]], chunk or len(order), backbone.device
    chunks = [order[i : i + step] for i in range(0, len(order), step)]
    packed = shared if len(chunks) == 1 else 0
    parts = [_part(rows, lengths, longest, shared, packed, backbone.dtype, device) for rows in chunks]
    return Plan(longest, parts, to_device(torch.tensor(order).argsort(), device))


def _part(rows, lengths, longest, shared, packed, dtype, device) -> Part:
    """Of `rows`, in order of their lengths; `packed` tokens of the prefix stand before them."""
    groups, index, ends, at = [], [], [], packed
    for members in grouped(rows, lengths, PADDING[device.type]):
        length = lengths[members[-1]]
        eot = torch.tensor([lengths[row] - 1 for row in members])
        mask = torch.full((length, shared + length), float("-inf"), dtype=dtype).triu(shared + 1)
        at_eot = None if lengths[members[0]] == length else to_device(mask[eot][:, None, None], device)
        causal, members = to_device(mask, device) if shared else None, torch.tensor(members)
        groups.append(Group(len(members), length, to_device(members, device), causal, at_eot))
        index.append((members[:, None] * longest + torch.arange(length)).flatten())
        ends.append(at + torch.arange(len(members)) * length + eot)
        at += len(members) * length
    return Part(groups, to_device(torch.cat(index), device), to_device(torch.cat(ends), device))


def grouped(rows, lengths, padding):
    """Split rows, which come in order of their lengths, into runs that waste at most `padding` tokens each."""
    runs, longest, wasted = [], 0, 0
    for length, same in groupby(reversed(rows), lengths.__getitem__):
        same = list(same)
        wasted += len(same) * (longest - length)
        if runs and wasted <= padding:
            runs[-1] += same
        else:
            runs.append(same)
            longest, wasted = length, 0
    return [run[::-1] for run in reversed(runs)]


# ---- how many prompts fit into memory at once, for CHUNK 0

ASK = 2**28  # bytes: less than this is taken without asking how much is free
SHARE = 0.5  # of the free memory, for what the backward pass needs; the rest is the features', the losses' and others'
WIDTHS = 14  # numbers kept for each token and layer, in widths of the tower; measured: docs/performance.md
LAST = 0.4  # of a layer: the last one works on EOT alone, but has keys and values of all


def free_memory(device: torch.device) -> int:
    """Bytes that a process can still take; for a CPU half of what is built in, so that a run repeats exactly."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def fitting_chunk(backbone, lengths, shared: int) -> int:
    """Rows that may go through the tower at a time before a backward pass, 0: all of them."""
    layers = len(backbone.transformer.resblocks) - 1 + LAST
    widths = WIDTHS * max(lengths) + 2 * shared  # keys and values of the prefix stand beside those of each row
    each = layers * backbone.width * backbone.dtype.itemsize * widths  # bytes
    if len(lengths) * each < ASK:
        return 0
    fit = int(SHARE * free_memory(backbone.device) / each)
    return 0 if fit >= len(lengths) else max(fit, 1)
