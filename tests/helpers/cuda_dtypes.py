"""CUDA's rules for dtypes, imposed on CPU tensors: a CPU forgives mixtures and kernels that a GPU refuses.

`CudaDtypes` watches every kernel, also those of the backward pass. `CudaAutocast` stands in for CUDA's autocast, whose
lists of functions differ from a CPU's, and whose lower precision is float16. `as_on_a_gpu` makes the trainers run in
the precision that they would have on a GPU. What no CPU can show: tensors on two devices, and a GPU's own rounding.
"""

import sys
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from trainers.core import config

# Kernels whose floating tensors must all have one dtype.
STRICT = set(
    """
    mm bmm addmm baddbmm addmv mv dot linear convolution _convolution convolution_backward index_put index_put_
    _index_put_impl_ index_add index_add_ index_copy index_copy_ scatter scatter_ scatter_add scatter_add_ lerp lerp_
    native_group_norm _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_attention_math
    """.split()
)
# Kernels with statistics that are float32 in any case: the places of the tensors that must agree.
STRICT_PLACES = {
    "native_layer_norm": (0, 2, 3),
    "native_layer_norm_backward": (0, 1, 5, 6),
    "_scaled_dot_product_flash_attention_for_cpu_backward": (0, 1, 2, 3, 4),
}
# Batch norms take half input with float32 weights and statistics, these being alike.
BATCH_NORM = {"native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"}
# Kernels that CUDA has for float32 and float64 alone, by the start of their names.
NO_HALF = ("linalg_", "_linalg_", "cholesky", "_cdist", "geqrf", "lu_", "triangular_solve")
HALF_ALL_THE_SAME = ("linalg_vector_norm", "linalg_cross")
# CUDA's autocast: what runs in float16, in float32, in the widest dtype of its inputs.
LOWER = set(
    """
    linear matmul __matmul__ __rmatmul__ mm bmm addmm addmv baddbmm mv einsum conv1d conv2d conv3d prelu
    scaled_dot_product_attention multi_head_attention_forward
    """.split()
)
FLOAT32 = set(
    """
    layer_norm group_norm softmax log_softmax cross_entropy nll_loss mse_loss l1_loss smooth_l1_loss kl_div
    cosine_similarity binary_cross_entropy_with_logits exp expm1 log log2 log1p logsumexp pow __pow__ __rpow__ rsqrt
    reciprocal cumsum cumprod sum prod norm vector_norm normalize dist cdist softplus
    """.split()
)
WIDEST = set("cat stack concat bilinear dot index_put scatter_add tensordot".split())


def floats(values):
    """The floating tensors in nested lists and dicts."""
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor) and value.is_floating_point()]


def mixed(values):
    return len({value.dtype for value in floats(values)}) > 1


def refused(name, args, kwargs):
    """Whether CUDA has no kernel `name` for the dtypes of these arguments."""
    if name in STRICT:
        return mixed([args, kwargs])
    if name in STRICT_PLACES:
        return mixed([args[place] for place in STRICT_PLACES[name] if place < len(args)])
    if name in BATCH_NORM:
        others = floats(args[1:5])
        return mixed(others) or any(other.dtype not in (args[0].dtype, torch.float32) for other in others)
    if name.startswith(NO_HALF) and name not in HALF_ALL_THE_SAME:
        return any(value.dtype == torch.float16 for value in floats([args, kwargs]))
    return False


class CudaDtypes(TorchDispatchMode):
    """While active, a kernel that CUDA would refuse for its dtypes raises RuntimeError."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if refused(name, args, kwargs):
            found = ", ".join(str(value.dtype).removeprefix("torch.") for value in floats([args, kwargs]))
            raise RuntimeError(f"CUDA has no kernel {name} for tensors of {found}")
        return func(*args, **kwargs)


def cast(values, wanted):
    """Nested values with every half and float32 tensor as `wanted`; float64 stays, as autocast leaves it."""

    def one(value):
        fits = isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.float32)
        return value.to(wanted) if fits else value

    return tree_map(one, values)


class CudaAutocast(TorchFunctionMode):
    """Where the code asks for a CPU's autocast, it gets CUDA's rules instead."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if not torch.is_autocast_enabled("cpu"):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            if name in LOWER:
                args, kwargs = cast([args, kwargs], torch.float16)
            elif name in FLOAT32 or (name in WIDEST and mixed([args, kwargs])):
                args, kwargs = cast([args, kwargs], torch.float32)
            return func(*args, **kwargs)


@contextmanager
def as_on_a_gpu():
    """Trainers choose the precision of a GPU, on CPU tensors, under CUDA's rules."""
    resolve = config.resolve_precision

    def resolve_as_on_a_gpu(requested, device, key):
        return resolve(requested, "cuda", key)

    with pytest.MonkeyPatch.context() as patch, CudaDtypes(), CudaAutocast():
        # 65536, where it starts, is too much for some gradients: steps are skipped until it has fallen
        patch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=256.0))
        for module in [module for name, module in sys.modules.items() if name.startswith("trainers")]:
            if getattr(module, "resolve_precision", None) is resolve:
                patch.setattr(module, "resolve_precision", resolve_as_on_a_gpu)
        yield
