"""Small tensors from the host to the device."""

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """`tensor` on `device`. To a GPU by way of pinned memory, so that the host does not wait for what the GPU does."""
    if tensor.device.type == "cpu" and torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
