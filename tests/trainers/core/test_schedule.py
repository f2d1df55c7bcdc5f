"""build_schedule: Dassl's schedule, and one line to act on where upstream's warm-up fails on current PyTorch."""

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from trainers.core import config as schedule
from trainers.core.files import UserError


class ModernBase(LRScheduler):
    """PyTorch's base class as it is since 2.7, also where an older one is installed."""

    def __init__(self, optimizer, last_epoch=-1):
        super().__init__(optimizer, last_epoch)


class Warmup(ModernBase):
    """As an upstream Dassl defines its warm-up: it gives the base class one argument more."""

    def __init__(self, optimizer, last_epoch=-1, verbose=False):
        super().__init__(optimizer, last_epoch, verbose)


def upstream(optimizer, optim_cfg):
    """What an upstream dassl.optim.build_lr_scheduler does, in short."""
    if optim_cfg.LR_SCHEDULER == "single_step" and not isinstance(optim_cfg.STEPSIZE, int):
        raise TypeError("stepsize must be an integer")
    return Warmup(optimizer) if optim_cfg.WARMUP_EPOCH > 0 else CosineAnnealingLR(optimizer, optim_cfg.MAX_EPOCH)


def optim(**options):
    cfg = get_cfg_default().OPTIM
    for key, value in {"LR_SCHEDULER": "cosine", "MAX_EPOCH": 5, **options}.items():
        cfg[key] = value
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.002), cfg


def test_the_schedule_is_dassls():
    optimizer, cfg = optim(WARMUP_EPOCH=1, WARMUP_TYPE="constant", WARMUP_CONS_LR=1e-5)
    found = schedule.build_schedule(optimizer, cfg)
    assert type(found) is type(build_lr_scheduler(*optim())) and optimizer.param_groups[0]["lr"] == 1e-5


def test_upstreams_warm_up_on_current_pytorch(monkeypatch):
    monkeypatch.setattr(schedule, "build_lr_scheduler", upstream)
    with pytest.raises(UserError) as caught:
        schedule.build_schedule(*optim(WARMUP_EPOCH=1))
    message = str(caught.value)
    assert "\n" not in message and "OPTIM.WARMUP_EPOCH 1: the warm-up of the installed Dassl fails" in message
    for part in (torch.__version__, "3 positional arguments but 4", "torch<2.7", "PYTHONPATH", "OPTIM.WARMUP_EPOCH -1"):
        assert part in message
    assert isinstance(schedule.build_schedule(*optim(WARMUP_EPOCH=-1)), CosineAnnealingLR)


def test_other_errors_of_dassl_pass(monkeypatch):
    monkeypatch.setattr(schedule, "build_lr_scheduler", upstream)
    with pytest.raises(TypeError, match="stepsize must be an integer"):
        schedule.build_schedule(*optim(LR_SCHEDULER="single_step", STEPSIZE=(2.5,), WARMUP_EPOCH=1))
