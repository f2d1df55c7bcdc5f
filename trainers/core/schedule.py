"""The learning-rate schedule: Dassl's, and what to do where an upstream Dassl does not fit the installed PyTorch."""

import torch
from dassl.optim import build_lr_scheduler

from .files import UserError


def per_step(optim, steps):
    """OPTIM for the scheduler; with SCHEDULE_PER step its epochs are steps, of which an epoch has `steps()`."""
    if optim.SCHEDULE_PER not in ("epoch", "step"):
        raise UserError(f"OPTIM.SCHEDULE_PER is '{optim.SCHEDULE_PER}'; it must be epoch or step")
    if optim.SCHEDULE_PER == "epoch":
        return optim
    if optim.WARMUP_EPOCH > 0:
        raise UserError("OPTIM.SCHEDULE_PER step has no warm-up; set OPTIM.WARMUP_EPOCH -1")
    optim = optim.clone()
    optim.defrost()
    optim.MAX_EPOCH *= steps()
    return optim


def build_schedule(optimizer, optim_cfg):
    """dassl.optim's schedule for OPTIM, warm-up included; every other error of it passes as it is.

    Upstream's warm-up schedulers hand `verbose` to PyTorch's base class, which takes it no longer since 2.7: UserError.
    """
    try:
        return build_lr_scheduler(optimizer, optim_cfg)
    except TypeError as error:
        if optim_cfg.WARMUP_EPOCH <= 0 or "__init__()" not in str(error):
            raise
        raise UserError(
            f"OPTIM.WARMUP_EPOCH {optim_cfg.WARMUP_EPOCH}: the warm-up of the installed Dassl fails on PyTorch "
            f"{torch.__version__} ({error}); it needs torch<2.7. Put this repository's third_party first on "
            "PYTHONPATH, which brings a Dassl for current PyTorch; or pip install 'torch<2.7'; or train without "
            "warm-up, with other results: OPTIM.WARMUP_EPOCH -1"
        ) from error
