"""How many prompts fit into memory at once, for CHUNK 0."""

import os
import re

import torch

ASK = 2**28  # bytes: less than this is taken without asking how much is free
SHARE = 0.5  # of the free memory, for what the backward pass needs; the rest is the features', the losses' and others'
WIDTHS = 14  # numbers kept for each token and layer, in widths of the tower; measured: docs/performance.md
LAST = 0.4  # of a layer: the last one works on EOT alone, but has keys and values of all


def free_memory(device: torch.device) -> int:
    """Bytes that a process can still take."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return int(re.search(r"MemAvailable: +(\d+) kB", file.read()).group(1)) * 1024
    except (OSError, AttributeError):  # not Linux: half of what is built in
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def row_bytes(backbone, length: int, shared: int) -> float:
    """What a prompt of `length` tokens behind `shared` ones keeps for its backward pass."""
    layers = len(backbone.transformer.resblocks) - 1 + LAST
    copies = 2 * shared  # keys and values of the prefix stand beside those of each row
    itemsize = torch.finfo(backbone.dtype).bits // 8
    return layers * backbone.width * itemsize * (WIDTHS * length + copies)


def fitting_chunk(backbone, lengths, shared: int) -> int:
    """Rows that may go through the tower at a time, 0: all of them. Only a backward pass needs a bound."""
    if not torch.is_grad_enabled():
        return 0
    each = row_bytes(backbone, max(lengths), shared)
    if len(lengths) * each < ASK:
        return 0
    fit = int(SHARE * free_memory(backbone.device) / each)
    return 0 if fit >= len(lengths) else max(fit, 1)
