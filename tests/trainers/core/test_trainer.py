"""The training loop: what it refuses, how it sums up an epoch, and that no step waits for the device."""

import pytest
import torch
import torch.nn.functional as F
from dassl.config import get_cfg_default
from dassl.utils import UserError
from runs import argv, log, results
from tiny_clip import tiny_clip
from torch.utils._python_dispatch import TorchDispatchMode

import train
from trainers.coop import CoOp, CoOpHead
from trainers.core import config
from trainers.generative.frameworks import VAE
from trainers.generative.generator import PromptGenerator
from trainers.plugins.sar import distance


def test_an_epoch_is_one_line_with_the_means_of_its_steps(tiny_bank, tmp_path, monkeypatch):
    losses, update = [], CoOp.update
    monkeypatch.setattr(CoOp, "update", lambda self, loss: (losses.append(loss.item()), update(self, loss)))
    train.main(argv(tiny_bank, tmp_path, "CoOp"))
    lines = [line for line in log(tmp_path).splitlines() if line.startswith("epoch [")]
    assert [line.split()[3] for line in lines] == [f"{sum(losses[i : i + 2]) / 2:.4f}" for i in (0, 2, 4)]
    assert "tensorboard" in log(tmp_path) and results(tmp_path)["seconds"]["finetune"] > 0


@pytest.mark.parametrize("what", ["loss", "parameter ctx"])
def test_what_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tiny_bank, tmp_path, monkeypatch, what):
    update = CoOp.update

    def broken_update(trainer, loss):
        update(trainer, loss)
        if (trainer.epoch, trainer.batch_idx) == (2, 0 if what == "loss" else 1):  # 1 is the last step
            trainer.head.ctx.data[0, 0] = float("inf")

    monkeypatch.setattr(CoOp, "update", broken_update)
    with pytest.raises(UserError, match=f"the {what} is not finite at epoch 3.*model-rolling"):
        train.main(argv(tiny_bank, tmp_path, "CoOp"))
    assert torch.load(tmp_path / "prompt_learner/model-rolling.pth.tar", weights_only=True)["epoch"] == 2


class Reads(TorchDispatchMode):
    """Counts how often the host asks a tensor for its value: a GPU would have to be waited for."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*arguments, **(options or {}))


def test_a_step_asks_for_no_value():
    """Of CoOp, of SAR's penalty, and of SHIP's generator."""
    backbone = tiny_clip()
    head = CoOpHead(backbone, ["dog", "old cup"], torch.zeros(2, backbone.width))
    vae = VAE(PromptGenerator(backbone, 2, 4, 8), backbone.embed_dim, 8)
    optimizer = torch.optim.AdamW(vae.parameters(), fused=True)
    x, labels, fixed = torch.randn(3, backbone.embed_dim), torch.tensor([0, 1, 1]), torch.randn(2, backbone.embed_dim)
    with Reads() as reads:
        loss = F.cross_entropy(head(x), labels) + distance("kl", head.text_features(), fixed, 0.1, 100.0)
        loss.backward()
        vae.step(x, labels, head.tokens, [optimizer])
    assert reads.count == 0


def test_upstreams_warm_up_on_current_pytorch_says_what_to_do(monkeypatch):
    class Upstreams(torch.optim.lr_scheduler.LRScheduler):
        def __init__(self, optimizer, optim):
            super().__init__(optimizer, -1, False, None)

    monkeypatch.setattr(config, "build_lr_scheduler", Upstreams)
    optim, optimizer = get_cfg_default().OPTIM, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.002)
    optim.WARMUP_EPOCH, optim.SCHEDULE_PER = 1, "epoch"
    with pytest.raises(UserError, match="third_party first on PYTHONPATH.*torch<2.7"):
        config.build_schedule(optimizer, optim, steps=None)
    optim.WARMUP_EPOCH = -1
    with pytest.raises(TypeError):  # another error, which passes as it is
        config.build_schedule(optimizer, optim, steps=None)
