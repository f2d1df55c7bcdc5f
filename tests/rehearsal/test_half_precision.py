"""Every method, alone and with all its plug-ins, in half precision and with autocast, on a CPU under CUDA's rules for
dtypes: nearly as in float32."""

import math

import pytest
import torch
from helpers.cuda_dtypes import as_on_a_gpu
from helpers.rehearsal import command, methods_and_compositions, numbers, rehearse, small, trainers

from trainers.core.model import towers

pytestmark = pytest.mark.rehearsal
# several steps, whose losses depend on the gradients of those before
STEPS = "OPTIM.MAX_EPOCH 2 OPTIM.WARMUP_EPOCH -1 DATALOADER.TRAIN_X.BATCH_SIZE 3".split()


@pytest.fixture
def run(data, features, tmp_path, monkeypatch):
    """run(trainer, precision) -> (losses of the steps, results.json)."""

    def run(trainer, precision):
        kind = trainers()[trainer]
        key = [f"TRAINER.{kind.SECTION}.PREC", precision] if kind.SECTION else []
        options = [*small(features), *STEPS, *key]
        losses, update = [], kind.update
        with monkeypatch.context() as patch:
            patch.setattr(kind, "update", lambda self, loss: (losses.append(loss.item()), update(self, loss)))
            found = rehearse(command(data, tmp_path / precision, f"{trainer}/vit_b16", "dtd", *options))
        return losses, found

    return run


METHODS, COMPOSITIONS = methods_and_compositions()


@pytest.mark.parametrize("trainer", [*METHODS, *(pytest.param(name, marks=pytest.mark.slow) for name in COMPOSITIONS)])
def test_losses_are_nearly_those_of_float32(run, trainer):
    """Of the fine-tuning's steps, and of the generator where there is one."""
    plain_losses, plain_results = run(trainer, "fp32")
    assert plain_losses or not trainers()[trainer].trains
    for precision in ("fp16", "amp"):
        with as_on_a_gpu():
            losses, results = run(trainer, precision)
        assert all(map(math.isfinite, losses)), precision
        assert losses == pytest.approx(plain_losses, rel=0.02, abs=0.02), precision
        generator, plain = (found["extra"].get("generator", {}) for found in (results, plain_results))
        assert [*numbers(generator)] == pytest.approx([*numbers(plain)], rel=0.05, abs=0.01), precision


# ---- the self-test: what CUDA refuses is refused


def test_a_norm_that_forgets_to_cast_stops_a_run(monkeypatch, data, tmp_path):
    monkeypatch.setattr(towers.LayerNorm, "forward", torch.nn.LayerNorm.forward)
    argv = command(data, tmp_path / "out", "CoOp/vit_b16", "dtd", *small(tmp_path / "features"))
    with (
        as_on_a_gpu(),
        pytest.raises(RuntimeError, match="CUDA has no kernel native_layer_norm for tensors of float16"),
    ):
        rehearse(argv)
