"""Optimisers by name."""

from torch import nn
from torch import optim as O

from ..utils import UnknownName, UserError, nearest
from .radam import RAdam

_BUILDERS = {
    "sgd": lambda p, c: O.SGD(p, momentum=c.MOMENTUM, dampening=c.SGD_DAMPNING, nesterov=c.SGD_NESTEROV, **_common(c)),
    "adam": lambda p, c: O.Adam(p, betas=_betas(c), **_common(c)),
    "amsgrad": lambda p, c: O.Adam(p, betas=_betas(c), amsgrad=True, **_common(c)),
    "adamw": lambda p, c: O.AdamW(p, betas=_betas(c), **_common(c)),
    "radam": lambda p, c: RAdam(p, betas=_betas(c), **_common(c)),
    "rmsprop": lambda p, c: O.RMSprop(p, momentum=c.MOMENTUM, alpha=c.RMSPROP_ALPHA, **_common(c)),
}


def build_optimizer(model, optim_cfg, param_groups=None):
    """The optimiser OPTIM.NAME over `param_groups`, or over `model`: a module, parameters or parameter groups.

    With OPTIM.STAGED_LR the children of the module that OPTIM.NEW_LAYERS does not name learn at LR * BASE_LR_MULT.
    """
    if optim_cfg.NAME not in _BUILDERS:
        known = ", ".join(nearest(optim_cfg.NAME, _BUILDERS))
        raise UnknownName(f"unknown optimiser OPTIM.NAME {optim_cfg.NAME!r}; known, nearest first: {known}")
    if param_groups is None:
        if optim_cfg.STAGED_LR:
            param_groups = _staged(model, optim_cfg)
        else:
            param_groups = model.parameters() if isinstance(model, nn.Module) else model
    return _BUILDERS[optim_cfg.NAME](param_groups, optim_cfg)


def _common(c):
    return {"lr": c.LR, "weight_decay": c.WEIGHT_DECAY}


def _betas(c):
    return (c.ADAM_BETA1, c.ADAM_BETA2)


def _staged(model, c):
    """Two parameter groups: pretrained children at the reduced rate, new ones at LR."""
    if not isinstance(model, nn.Module):
        raise UserError("OPTIM.STAGED_LR needs a module; set OPTIM.STAGED_LR False or pass param_groups")
    model = model.module if isinstance(model, nn.DataParallel) else model
    new_layers = [c.NEW_LAYERS] if isinstance(c.NEW_LAYERS, str) else list(c.NEW_LAYERS)
    children = dict(model.named_children())
    if missing := [name for name in new_layers if name not in children]:
        raise UnknownName(f"OPTIM.NEW_LAYERS names {missing}, the model has {list(children)}")
    base = [p for name, child in children.items() if name not in new_layers for p in child.parameters()]
    new = [p for name in new_layers for p in children[name].parameters()]
    return [{"params": base, "lr": c.LR * c.BASE_LR_MULT}, {"params": new}]
