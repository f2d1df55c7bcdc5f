"""CUDA's rules for the dtypes of norms, imposed on a CPU, which would forgive what a GPU refuses."""

import torch
import torch.nn.functional as F


def impose_cuda_rules(monkeypatch):
    """Until `monkeypatch` undoes it, norms raise RuntimeError for weights of a dtype that CUDA's kernels refuse.

    Layer and group norm want their input's dtype; batch norm takes that or float32, alike in weights and statistics.
    """
    layer_norm, group_norm, batch_norm = F.layer_norm, F.group_norm, F.batch_norm

    def strict_layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
        check("layer_norm", {input.dtype}, weight, bias)
        return layer_norm(input, normalized_shape, weight, bias, eps)

    def strict_group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
        check("group_norm", {input.dtype}, weight, bias)
        return group_norm(input, num_groups, weight, bias, eps)

    def strict_batch_norm(input, running_mean, running_var, weight=None, bias=None, *args, **kwargs):
        allowed = {input.dtype, torch.float32}
        check("batch_norm", allowed if weight is None else allowed & {weight.dtype}, running_mean, running_var, bias)
        return batch_norm(input, running_mean, running_var, weight, bias, *args, **kwargs)

    def check(norm, allowed, *tensors):
        found = {tensor.dtype for tensor in tensors if tensor is not None} - allowed
        if found:
            raise RuntimeError(f"{norm} on CUDA: expected {allowed} but found {found}")

    monkeypatch.setattr(F, "layer_norm", strict_layer_norm)
    monkeypatch.setattr(F, "group_norm", strict_group_norm)
    monkeypatch.setattr(F, "batch_norm", strict_batch_norm)
