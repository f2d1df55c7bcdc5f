"""Where prompts of different lengths lie when they are packed: all that depends on the lengths alone, planned once.

N rows; P prefix tokens before each; T tokens of a row behind the prefix. Tensors are on the device of the tower.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from ..data import to_device

# Shorter rows join a group of longer ones when that adds at most so many tokens of padding: a group of its own costs
# one more attention call a layer, which is worth a few tokens of linear layers on a CPU and thousands on a GPU.
PADDING = {"cpu": 8}
PADDING_ELSEWHERE = 8192


class Group(NamedTuple):
    """Rows that attend together: `rows` of them, each `length` tokens long without the prefix, padding included."""

    rows: int
    length: int
    causal: Tensor | None  # additive mask [T, P + T], lower right; None without a prefix: plain causal attention
    at_eot: Tensor | None  # the mask at each row's EOT [rows, 1, 1, P + T]; None where no row has padding


class Part(NamedTuple):
    """Rows that go through the tower together, in order of their lengths, packed group after group."""

    groups: list[Group]
    index: Tensor  # of each packed token among the tokens of all rows, which are `longest` apart
    ends: Tensor  # of each row's EOT among the packed tokens, a prefix that is packed with them included


class Plan(NamedTuple):
    shared: int  # P
    longest: int
    parts: list[Part]  # more than one: the prefix's keys and values are computed before, and not packed with the rows
    back: Tensor  # where each row went [N]


def plan(lengths: Sequence[int], shared: int, chunk: int, dtype: torch.dtype, device: torch.device) -> Plan:
    """For rows of `lengths` tokens [N] behind `shared` ones; chunk > 0: at most that many rows a part."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    step = chunk if 0 < chunk < len(order) else len(order)
    longest = lengths[order[-1]]
    parts = [
        _part(order[i : i + step], lengths, longest, shared, step == len(order), dtype, device)
        for i in range(0, len(order), step)
    ]
    return Plan(shared, longest, parts, to_device(torch.tensor(order).argsort(), device))


def _part(rows, lengths, longest, shared, packs_prefix, dtype, device) -> Part:
    groups, index, ends, at = [], [], [], shared if packs_prefix else 0
    for members in grouped(rows, lengths, PADDING.get(device.type, PADDING_ELSEWHERE)):
        length = lengths[members[-1]]
        eot = torch.tensor([lengths[row] - 1 for row in members])
        mask = torch.full((length, shared + length), float("-inf"), dtype=dtype).triu(shared + 1)
        at_eot = None if lengths[members[0]] == length else to_device(mask[eot][:, None, None], device)
        groups.append(Group(len(members), length, to_device(mask, device) if shared else None, at_eot))
        index.append((torch.tensor(members)[:, None] * longest + torch.arange(length)).flatten())
        ends.append(at + torch.arange(len(members)) * length + eot)
        at += len(members) * length
    return Part(groups, to_device(torch.cat(index), device), to_device(torch.cat(ends), device))


def grouped(rows, lengths, padding):
    """Split rows, which come in order of their lengths, into runs that waste at most `padding` tokens each."""
    runs = []
    for length, same in reversed([(length, list(same)) for length, same in groupby(rows, lengths.__getitem__)]):
        waste = len(same) * (runs[-1][1] - length) + runs[-1][2] if runs else 0
        if runs and waste <= padding:
            runs[-1] = (same + runs[-1][0], runs[-1][1], waste)
        else:
            runs.append((same, length, 0))
    return [members for members, _, _ in reversed(runs)]
