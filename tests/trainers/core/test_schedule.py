"""build_schedule: one line to act on where an upstream Dassl's warm-up fails on current PyTorch."""

import pytest
import torch
from dassl.config import get_cfg_default
from torch.optim.lr_scheduler import LRScheduler

from trainers.core import config
from trainers.core.files import UserError


class ModernBase(LRScheduler):
    """PyTorch's base class as it is since 2.7, also where an older one is installed."""

    def __init__(self, optimizer, last_epoch=-1):
        super().__init__(optimizer, last_epoch)


class UpstreamsWarmup(ModernBase):
    def __init__(self, optimizer, optim_cfg):
        super().__init__(optimizer, -1, False)


def test_upstreams_warm_up_on_current_pytorch(monkeypatch):
    monkeypatch.setattr(config, "build_lr_scheduler", UpstreamsWarmup)
    cfg, optimizer = get_cfg_default().OPTIM, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.002)
    cfg.WARMUP_EPOCH = 1
    with pytest.raises(UserError, match="OPTIM.WARMUP_EPOCH 1: .* 3 positional arguments but 4.*torch<2.7.*PYTHONPATH"):
        config.build_schedule(optimizer, cfg)
    cfg.WARMUP_EPOCH = -1
    with pytest.raises(TypeError):  # no warm-up: another error, which passes as it is
        config.build_schedule(optimizer, cfg)
