"""dassl.optim: upstream's schedules, checked against figures and against PyTorch's own."""

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.optim.lr_scheduler import ConstantWarmupScheduler, LinearWarmupScheduler
from dassl.utils import UserError
from torch.optim import lr_scheduler as torch_schedules

CONSTANT = {"WARMUP_EPOCH": 1, "WARMUP_TYPE": "constant"}
MULTI = {"LR": 1.0, "LR_SCHEDULER": "multi_step", "WARMUP_EPOCH": 3, "WARMUP_TYPE": "constant", "WARMUP_CONS_LR": 9.0}


def optim_cfg(**options):
    cfg = get_cfg_default().OPTIM
    for key, value in {"NAME": "sgd", "LR": 0.002, "MAX_EPOCH": 50, "LR_SCHEDULER": "cosine", **options}.items():
        cfg[key] = value
    return cfg


def rates(scheduler, optimizer, epochs):
    """The rate of the first group in each epoch."""
    result = []
    for _ in range(epochs):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return result


def built(cfg):
    optimizer = build_optimizer(torch.nn.Linear(2, 2), cfg)
    return build_lr_scheduler(optimizer, cfg), optimizer


@pytest.mark.parametrize(
    "recount, expected",
    [
        (True, [1e-5, 0.002, 0.00199802673, 0.0019921147, 0.00106279052, 7.88529869e-06]),
        (False, [1e-5, 0.002, 0.00199408213, 0.00198424498, 0.00100098761, 1.97522039e-06]),
    ],
)
def test_cosine_after_constant_warmup(recount, expected):
    got = rates(*built(optim_cfg(**CONSTANT, WARMUP_RECOUNT=recount)), 50)
    assert [got[e] for e in (0, 1, 2, 3, 25, 49)] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    "options, reference",
    [
        ({"LR_SCHEDULER": "cosine"}, lambda o: torch_schedules.CosineAnnealingLR(o, 50)),
        ({"LR_SCHEDULER": "single_step", "STEPSIZE": (7,)}, lambda o: torch_schedules.StepLR(o, 7, 0.1)),
        ({"LR_SCHEDULER": "multi_step", "STEPSIZE": (5, 20)}, lambda o: torch_schedules.MultiStepLR(o, [5, 20], 0.1)),
    ],
)
def test_without_warmup_equals_pytorch(options, reference):
    optimizer = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.002)
    expected = rates(reference(optimizer), optimizer, 50)
    assert rates(*built(optim_cfg(**options)), 50) == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"LR": 1.0, "WARMUP_EPOCH": 5, "WARMUP_MIN_LR": 0.01}, [0.01, 0.2, 0.4, 0.6, 0.8, 1.0]),
        # Milestone 5 counts from the end of the warm-up, or from the start; milestone 2 lies inside the warm-up.
        ({**MULTI, "STEPSIZE": (5,)}, [9, 9, 9, 1, 1, 1, 1, 1, 0.1]),
        ({**MULTI, "STEPSIZE": (2, 5), "WARMUP_RECOUNT": False}, [9, 9, 9, 1, 1, 0.1, 0.1, 0.1, 0.1]),
    ],
)
def test_other_warmups(options, expected):
    assert rates(*built(optim_cfg(**options)), len(expected)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "kind, value, warm", [(ConstantWarmupScheduler, 0.01, 0.01), (LinearWarmupScheduler, 0.2, 0.5)]
)
def test_a_warm_up_stands_before_a_schedule_of_pytorch(kind, value, warm):
    """The schedule's own epoch 0 comes after the warm-up."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = kind(optimizer, torch_schedules.StepLR(optimizer, 1, gamma=0.5), 2, value)
    assert rates(schedule, optimizer, 5) == pytest.approx([value, warm, 1.0, 0.5, 0.25])


def test_state_is_plain_and_continues_exactly():
    cfg = optim_cfg(**CONSTANT, WARMUP_RECOUNT=False)
    whole, (scheduler, optimizer), (resumed, fresh) = rates(*built(cfg), 50), built(cfg), built(cfg)
    rates(scheduler, optimizer, 20)
    assert all(type(value) in (int, float, list) for value in scheduler.state_dict().values())
    resumed.load_state_dict(scheduler.state_dict())
    assert rates(resumed, fresh, 30) == whole[20:]


def test_bad_options():
    for options, message in (({"NAME": "adma"}, "nearest first: adam"), ({"LR_SCHEDULER": "cosinus"}, "cosine")):
        with pytest.raises(UserError, match=message):
            built(optim_cfg(**options))


@pytest.mark.parametrize(
    "name, kind, options",
    [
        ("sgd", torch.optim.SGD, {"momentum": 0.9, "nesterov": False, "dampening": 0}),
        ("adam", torch.optim.Adam, {"amsgrad": False, "betas": (0.9, 0.999)}),
        ("adamw", torch.optim.AdamW, {"betas": (0.9, 0.999)}),
        ("radam", torch.optim.RAdam, {"decoupled_weight_decay": True}),
    ],
)
def test_optimisers(name, kind, options):
    optimizer = build_optimizer(torch.nn.Linear(2, 2), optim_cfg(NAME=name))
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, kind) and group["lr"] == 0.002 and group["weight_decay"] == 5e-4
    assert {key: group[key] for key in options} == options
