"""Checkpoints and weights."""

import pickle
import shutil
import zipfile
from collections import OrderedDict
from os import path as osp

import numpy as np
import torch

from .errors import DamagedCheckpoint, UserError
from .files import atomic_path, check_regular, read_text
from .unpickling import load_foreign

BEST_NAME = "model-best.pth.tar"
POINTER_NAME = "checkpoint"  # a text file that holds the name of the newest checkpoint of its folder


def save_checkpoint(state, save_dir, is_best=False, remove_module_from_keys=True, model_name=""):
    """Write `state` to save_dir/model.pth.tar-<epoch> (or `model_name`) and note it as the newest, both atomically.

    state: dict with "state_dict" and "epoch" (finished epochs), and what else a resumed run needs, as tensors and plain
    values: the file is one that `torch.load(weights_only=True)` reads. `is_best` writes a copy as model-best.pth.tar.
    """
    if remove_module_from_keys:
        state = {**state, "state_dict": _without_module(state["state_dict"])}
    path = osp.join(save_dir, model_name or f"model.pth.tar-{state['epoch']}")
    with atomic_path(path) as temporary:
        try:
            torch.save(_plain(state, "checkpoint"), temporary)
        except RuntimeError as error:  # its writer has no word of its own for a disk that takes no more
            raise UserError(
                f"cannot write {path}: the disk is full, or files may not be that large (ulimit -f). Make room, then "
                f"give the same command again ({str(error).splitlines()[0]})"
            ) from error
    with atomic_path(osp.join(save_dir, POINTER_NAME)) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(osp.basename(path) + "\n")
    print(f"Checkpoint saved to {path}")
    if is_best:
        with atomic_path(osp.join(save_dir, BEST_NAME)) as temporary:
            shutil.copyfile(path, temporary)
        print(f"Best checkpoint saved to {osp.join(save_dir, BEST_NAME)}")


def load_checkpoint(fpath):
    """Read a checkpoint, a dict, to the CPU without running any code it may hold.

    Files of upstream Dassl hold objects beside tensors: only their "state_dict" and "epoch" are returned. MissingFile,
    UserError or DamagedCheckpoint, each with the path.
    """
    check_regular(fpath, "a checkpoint")
    try:
        _verify(fpath)
        try:
            checkpoint = torch.load(fpath, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            checkpoint = load_foreign(fpath)
        _check(checkpoint)
        return checkpoint
    except Exception as error:  # zip, zlib, pickle, key, value, runtime and end-of-file errors, among others
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        reason = reason if " " in reason else f"{type(error).__name__}: {reason}"  # a KeyError says "123" alone
        raise DamagedCheckpoint(
            f"{fpath} is damaged or not a checkpoint ({reason}); remove it and train again, or take another epoch"
        ) from error


def resume_from_checkpoint(fdir, model, optimizer=None, scheduler=None, model_name=""):
    """Load the newest checkpoint of the folder `fdir` (or `model_name`); returns how many epochs it has behind it."""
    path = osp.join(fdir, model_name or newest_checkpoint(fdir))
    checkpoint = load_checkpoint(path)
    load_weights(model, checkpoint, path)
    epoch = checkpoint["epoch"]
    print(f"Loaded weights from {path} (epoch = {epoch})")
    if optimizer is not None:
        if checkpoint.get("optimizer"):
            _restore(optimizer, checkpoint["optimizer"], "optimizer", path)
        else:
            print(f"{path} has no usable optimizer state: its running averages start anew")
    if scheduler is not None:
        if checkpoint.get("scheduler"):
            _restore(scheduler, checkpoint["scheduler"], "scheduler", path)
        elif hasattr(scheduler, "jump_to"):
            scheduler.jump_to(epoch)
    return epoch


def newest_checkpoint(fdir):
    """The file name that the folder's pointer holds, "" where there is no pointer."""
    pointer = osp.join(fdir, POINTER_NAME)
    if not osp.exists(pointer):
        return ""
    return osp.basename(read_text(pointer, "the name of a checkpoint").split("\n")[0].strip())


def load_weights(model, checkpoint, path):
    """Load checkpoint["state_dict"] into `model`, strictly; DamagedCheckpoint or UserError that names the file."""
    if not isinstance(checkpoint, dict) or not {"state_dict", "epoch"} <= checkpoint.keys():
        raise DamagedCheckpoint(f'{path} is no checkpoint of a trainer: expected the entries "state_dict" and "epoch"')
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the model (other classes, backbone or options?): {error}") from None


def load_pretrained_weights(model, weight_path):
    """Copy into `model` every tensor of the file whose name and shape fit; UserError where none does."""
    checkpoint = load_checkpoint(weight_path)
    state = checkpoint.get("state_dict", checkpoint)
    state = _without_module({name: value for name, value in state.items() if isinstance(name, str)})
    own = model.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and getattr(v, "shape", None) == own[k].shape}
    if not fitting:
        raise UserError(f"no tensor of {weight_path} fits the model: it has {_some(state)}, the model {_some(own)}")
    model.load_state_dict({**own, **fitting})
    print(f"Loaded {len(fitting)} tensors from {weight_path}")
    if left := [k for k in state if k not in fitting]:
        print(f"Not used, name or shape do not fit: {', '.join(left)}")


def count_num_param(model=None, params=None):
    """Number of parameters of a module, or of a list of parameters or of parameter groups."""
    if model is not None:
        return sum(p.numel() for p in model.parameters())
    return sum(count_num_param(params=p["params"]) if isinstance(p, dict) else p.numel() for p in params)


def _restore(state_holder, saved, name, path):
    """Give an optimiser or a schedule its saved state; UserError where that is another one's."""
    try:
        state_holder.load_state_dict(saved)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"the {name} state in {path} does not fit (other options?): {error}") from None
    print(f"Loaded the {name}")


def _check(checkpoint):
    """ValueError unless `checkpoint` is a dict whose weights and epochs, where it has them, are as Dassl saves them."""
    if not isinstance(checkpoint, dict):
        raise ValueError(f"it holds a {type(checkpoint).__name__}")
    weights, epoch = checkpoint.get("state_dict", {}), checkpoint.get("epoch", 0)
    if not isinstance(weights, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    ):
        raise ValueError("its state_dict is not one of tensors")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
        raise ValueError("its epoch is not a number of epochs")


def _verify(fpath):
    """ValueError for an archive whose content does not match its checksums, which torch.load does not look at."""
    if zipfile.is_zipfile(fpath):
        with zipfile.ZipFile(fpath) as archive:
            if bad := archive.testzip():
                raise ValueError(f"wrong checksum of {bad}")


def _some(names, limit=3):
    names = list(names)
    return ", ".join(names[:limit]) + (f", ... ({len(names)})" if len(names) > limit else "")


def _without_module(state_dict):
    """Drop the prefix that nn.DataParallel puts before every name."""
    return OrderedDict((k.removeprefix("module."), v) for k, v in state_dict.items())


def _plain(value, where):
    """`value` with every object turned into tensors and plain values; TypeError where that is impossible."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if value is None or isinstance(
        value, (torch.Tensor, bool, int, float, str, bytes, torch.dtype, torch.Size, torch.device)
    ):
        return value
    if isinstance(value, dict):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        return kind((_plain(k, where), _plain(v, f"{where}.{k}")) for k, v in value.items())
    if isinstance(value, (list, tuple, set)):
        kind = next(kind for kind in (list, tuple, set) if isinstance(value, kind))
        return kind(_plain(v, f"{where}[{i}]") for i, v in enumerate(value))
    if hasattr(value, "state_dict"):
        return _plain(value.state_dict(), where)
    raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint holds tensors and plain values only")
