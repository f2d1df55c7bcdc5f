"""Reading pickles that others wrote, without running what they name."""

import pickle
import types
from collections import OrderedDict

import torch

# What a tensor is rebuilt from; every other name in a foreign checkpoint becomes a Stub.
_TYPES = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
}
_FUNCTIONS = {
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}


class Stub:
    """Stands for an object of a class that is not loaded: takes any construction and any state, and does nothing."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass

    add = append


class StubbingUnpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers; anything else that the pickle names becomes a Stub."""

    def find_class(self, module, name):
        if (module, name) in _TYPES:
            return _TYPES[module, name]
        if (module, name) in _FUNCTIONS:
            # A new function each time: a pickle may set attributes of the function that it is given.
            return lambda *args: _FUNCTIONS[module, name](*args)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        return Stub


def load_foreign(fpath):
    """{"state_dict", "epoch"} of a checkpoint that holds objects as well (upstream Dassl pickles its scheduler).

    ValueError where the file has no such entries.
    """
    reader = types.SimpleNamespace(
        Unpickler=StubbingUnpickler,
        load=lambda file, **kwargs: StubbingUnpickler(file, **kwargs).load(),
        __name__="stubbing_pickle",
    )
    content = torch.load(fpath, map_location="cpu", weights_only=False, pickle_module=reader)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError("no state_dict of tensors")
    if not isinstance(content.get("epoch"), int):
        raise ValueError("no epoch")
    print(f"{fpath} holds Python objects: only its weights and epoch are used")
    return {"state_dict": state, "epoch": content["epoch"]}
