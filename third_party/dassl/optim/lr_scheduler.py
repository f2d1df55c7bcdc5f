"""Learning rates as a function of the epoch, warm-up included.

A rate depends on nothing but the epoch, so a resumed run continues exactly, and the state is a few plain numbers.
"""

import math
from collections import Counter

from torch.optim.lr_scheduler import LRScheduler

from ..utils import UnknownName, UserError, nearest


class EpochSchedule(LRScheduler):
    """Rate of group i in epoch e: warmup(e, base_i) while e < warmup_epoch, then base_i * factor(e).

    `factor` is relative to the base rate of each parameter group. Call `step()` once after each epoch.
    """

    def __init__(self, optimizer, factor, warmup_epoch=0, warmup=None):
        self._factor = factor
        self._warmup_epoch = warmup_epoch
        self._warmup = warmup
        super().__init__(optimizer)

    def get_lr(self):
        if self.last_epoch < self._warmup_epoch:
            return [self._warmup(self.last_epoch, base) for base in self.base_lrs]
        return [base * self._factor(self.last_epoch) for base in self.base_lrs]

    def jump_to(self, epoch):
        """Set the rates of `epoch`, as if step() had been called that often."""
        self.last_epoch = epoch
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self):
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict):
        self.base_lrs = list(state_dict["base_lrs"])
        self.jump_to(state_dict["last_epoch"])


class _WarmupScheduler(LRScheduler):
    """Rates of its own for `warmup_epoch` epochs, then those of the schedule `successor`, which starts at its epoch 0.

    For code that puts a warm-up before a schedule of PyTorch; build_lr_scheduler has its own.
    """

    def __init__(self, optimizer, successor, warmup_epoch, last_epoch=-1):
        self.successor, self.warmup_epoch = successor, warmup_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        if self.last_epoch >= self.warmup_epoch:
            return self.successor.get_last_lr()
        return [self.warmup_rate(base) for base in self.base_lrs]

    def step(self, epoch=None):
        if self.last_epoch < self.warmup_epoch:
            super().step(epoch)
        else:
            self.successor.step()
            self._last_lr = self.successor.get_last_lr()


class ConstantWarmupScheduler(_WarmupScheduler):
    """Warm-up at the rate `cons_lr`. `verbose` is upstream's and does nothing."""

    def __init__(self, optimizer, successor, warmup_epoch, cons_lr, last_epoch=-1, verbose=False):
        self.cons_lr = cons_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch)

    def warmup_rate(self, base):
        return self.cons_lr


class LinearWarmupScheduler(_WarmupScheduler):
    """Warm-up from `min_lr` in equal steps towards the base rate. `verbose` is upstream's and does nothing."""

    def __init__(self, optimizer, successor, warmup_epoch, min_lr, last_epoch=-1, verbose=False):
        self.min_lr = min_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch)

    def warmup_rate(self, base):
        return base * self.last_epoch / self.warmup_epoch if self.last_epoch else self.min_lr


def build_lr_scheduler(optimizer, optim_cfg):
    """The schedule OPTIM.LR_SCHEDULER after OPTIM.WARMUP_EPOCH epochs of warm-up (none where that is not positive).

    OPTIM.WARMUP_RECOUNT: the schedule starts at its own epoch 0 after the warm-up. Without it the schedule goes on at
    epoch WARMUP_EPOCH, but from the base rate: what it would have lost meanwhile is divided out.
    """
    if optim_cfg.LR_SCHEDULER not in _FACTORS:
        known = ", ".join(nearest(optim_cfg.LR_SCHEDULER, _FACTORS))
        raise UnknownName(f"unknown schedule OPTIM.LR_SCHEDULER {optim_cfg.LR_SCHEDULER!r}; known: {known}")
    factor = _FACTORS[optim_cfg.LR_SCHEDULER](optim_cfg)
    start = max(optim_cfg.WARMUP_EPOCH, 0)
    if start == 0:
        return EpochSchedule(optimizer, factor)
    if optim_cfg.WARMUP_TYPE not in _WARMUPS:
        raise UnknownName(f"unknown OPTIM.WARMUP_TYPE {optim_cfg.WARMUP_TYPE!r}; known: {', '.join(_WARMUPS)}")
    warmup = _WARMUPS[optim_cfg.WARMUP_TYPE](optim_cfg)
    if optim_cfg.WARMUP_RECOUNT:
        return EpochSchedule(optimizer, lambda epoch: factor(epoch - start), start, warmup)
    at_start = factor(start)
    # A schedule that is at zero already stays there but for the first epoch, which runs at the base rate.
    rest = (lambda epoch: factor(epoch) / at_start) if at_start else (lambda epoch: float(epoch == start))
    return EpochSchedule(optimizer, rest, start, warmup)


def _single_step(c):
    step = c.STEPSIZE[-1] if isinstance(c.STEPSIZE, (list, tuple)) else c.STEPSIZE
    if not isinstance(step, int):
        raise UserError(f"OPTIM.STEPSIZE of single_step: expected a whole number of epochs, got {step!r}")
    step = step if step > 0 else c.MAX_EPOCH
    return lambda epoch: c.GAMMA ** (epoch // step)


def _multi_step(c):
    if not isinstance(c.STEPSIZE, (list, tuple)):
        raise UserError(f"OPTIM.STEPSIZE of multi_step: expected a list of epochs such as (30, 40), got {c.STEPSIZE!r}")
    milestones = Counter(c.STEPSIZE)
    return lambda epoch: c.GAMMA ** sum(n for milestone, n in milestones.items() if milestone <= epoch)


def _cosine(c):
    return lambda epoch: (1 + math.cos(math.pi * epoch / c.MAX_EPOCH)) / 2


def _constant_warmup(c):
    return lambda epoch, base: c.WARMUP_CONS_LR


def _linear_warmup(c):
    return lambda epoch, base: base * epoch / c.WARMUP_EPOCH if epoch else c.WARMUP_MIN_LR


_FACTORS = {"single_step": _single_step, "multi_step": _multi_step, "cosine": _cosine}
_WARMUPS = {"constant": _constant_warmup, "linear": _linear_warmup}
