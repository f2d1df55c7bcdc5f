"""What public CoOp-style code imports from Dassl beside trainers and data, and how it reads registries and loaders."""

import subprocess
import sys

import pytest
import torch
from dassl.config import clean_cfg, get_cfg_default
from dassl.engine import trainer
from dassl.evaluation import Classification
from dassl.optim.lr_scheduler import ConstantWarmupScheduler, LinearWarmupScheduler
from dassl.utils import tools
from torch.utils.tensorboard import SummaryWriter


def test_names_stand_where_upstream_has_them(tmp_path):
    assert trainer.SummaryWriter is SummaryWriter
    tools.mkdir_if_missing(str(tmp_path / "a/b"))
    tools.write_json([1], str(tmp_path / "a/b/c.json"))
    assert tools.read_json(str(tmp_path / "a/b/c.json")) == [1] and tools.check_isfile(str(tmp_path / "a/b/c.json"))
    assert tools.listdir_nohidden(str(tmp_path)) == ["a"]
    cfg = get_cfg_default()
    clean_cfg(cfg, "mcd")
    assert set(cfg.TRAINER) == {"NAME", "MCD"}
    code = "import sys; import dassl.engine.trainer; sys.exit('torch.utils.tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0


@pytest.mark.parametrize(
    "kind, value, warm", [(ConstantWarmupScheduler, 0.01, 0.01), (LinearWarmupScheduler, 0.2, 0.5)]
)
def test_a_warm_up_stands_before_a_schedule_of_pytorch(kind, value, warm):
    """Rates of epochs 0 to 4; the schedule's own epoch 0 comes after the warm-up."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = kind(optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5), 2, value)
    for expected in (value, warm, 1.0, 0.5, 0.25):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
        optimizer.step()
        schedule.step()


def test_an_evaluator_may_reset_what_its_constructor_sets_later():
    class Grouped(Classification):
        def __init__(self, cfg):
            super().__init__(cfg)
            self.groups = 2
            self.reset()

        def reset(self):
            super().reset()
            self.hits = [0] * self.groups

    evaluator = Grouped(get_cfg_default())
    evaluator.process(torch.eye(2), torch.tensor([0, 1]))
    assert evaluator.hits == [0, 0] and evaluator.evaluate()["accuracy"] == 100
