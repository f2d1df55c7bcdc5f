"""What steps report: read all at once, means in double precision, and the first value that is not finite."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from dassl.utils import UserError
from tiny_clip import tiny_clip
from torch.utils._python_dispatch import TorchDispatchMode
from trainers.core.run.steps import Steps

from trainers.coop import CoOpHead
from trainers.core.trainer import FeatureTrainer
from trainers.generative.generator import PromptGenerator
from trainers.generative.vae import VAE


def test_values_wait_until_they_are_read():
    steps, loss = Steps(), torch.tensor([2.5], requires_grad=True)
    steps.add({"loss": loss * 1, "acc": 10.0})
    steps.add({"loss": torch.tensor(0.1), "acc": 30.0})
    assert steps.done == []
    assert steps.read() == [{"loss": 2.5, "acc": 10.0}, {"loss": torch.tensor(0.1).item(), "acc": 30.0}]
    assert steps.read() == [] and len(steps.done) == 2
    assert steps.means() == {"loss": (2.5 + torch.tensor(0.1).item()) / 2, "acc": 20.0}


def test_the_first_broken_step_is_named():
    steps = Steps()
    for loss in (1.0, float("inf"), float("nan")):
        steps.add({"loss": torch.tensor(loss), "acc": torch.tensor(0.0)})
    steps.read()
    assert steps.broken() == (1, "loss", float("inf"))


def trained(device, losses, every=5):
    """A trainer's steps on `device` -> what each of them returned."""
    trainer = SimpleNamespace(
        device=torch.device(device),
        cfg=SimpleNamespace(TRAIN=SimpleNamespace(PRINT_FREQ=every)),
        num_batches=len(losses),
        epoch=2,
        _steps=Steps(),
        _non_finite=lambda what: what,
    )
    found = []
    for trainer.batch_idx, loss in enumerate(losses):
        trainer._steps.add({"loss": torch.tensor(loss)})
        found.append(FeatureTrainer._read_steps(trainer))
    return found, trainer._steps


def test_a_gpu_is_waited_for_now_and_then():
    losses = [float(i) for i in range(7)]
    found, steps = trained("cuda", losses)
    assert found == [{}, {}, {}, {}, {"loss": 2.0}, {}, {"loss": 5.5}]
    on_cpu, all_read = trained("cpu", losses)
    assert on_cpu == [{"loss": loss} for loss in losses]
    assert steps.means() == all_read.means() == {"loss": 3.0}


def test_a_loss_that_is_not_finite_is_found_at_the_next_reading():
    with pytest.raises(UserError, match="the loss is nan at epoch 3, step 2"):
        trained("cuda", [0.0, float("nan"), 1.0, float("inf")])


class Reads(TorchDispatchMode):
    """Counts how often the host asks a tensor for its value: a GPU would have to be waited for."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*arguments, **(options or {}))


def test_a_step_asks_for_no_value():
    """Of CoOp, and of SHIP's generator (its check on a CPU aside)."""
    backbone = tiny_clip()
    head = CoOpHead(backbone, ["dog", "old cup"], torch.zeros(2, backbone.width))
    vae = VAE(PromptGenerator(backbone, 2, 4, 8), backbone.embed_dim, 8)
    x, labels, steps = torch.randn(3, backbone.embed_dim), torch.tensor([0, 1, 1]), Steps()
    with Reads() as reads:
        loss = F.cross_entropy(head(x), labels)
        loss.backward()
        steps.add({"loss": loss})
        loss, terms = vae.loss(x, labels, head.tokens)
        loss.backward()
        steps.add(terms)
    assert reads.count == 0
