"""What public CoOp-style code imports from Dassl beside trainers and data, and how it reads registries and loaders;
what an import costs; the logger."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dassl import utils
from dassl.config import clean_cfg, get_cfg_default
from dassl.engine import trainer
from dassl.evaluation import Classification
from torch.utils.tensorboard import SummaryWriter

LIGHT = """
import sys
import dassl.utils.errors, dassl.config, dassl.data.datasets
assert "torch" not in sys.modules, "PyTorch was imported"
from dassl.utils import *
import dassl.utils
assert all(name in globals() for name in dassl.utils.__all__) and dassl.utils.tools.read_image is read_image
import dassl.engine.trainer
assert "torch.utils.tensorboard" not in sys.modules
"""


def test_errors_and_configurations_need_no_pytorch():
    path = Path(__file__).resolve().parents[2] / "third_party"
    subprocess.run([sys.executable, "-c", LIGHT], check=True, env={**os.environ, "PYTHONPATH": str(path)})


def test_names_stand_where_upstream_has_them(tmp_path):
    tools = utils.tools
    assert trainer.SummaryWriter is SummaryWriter
    tools.mkdir_if_missing(str(tmp_path / "a/b"))
    tools.write_json([1], str(tmp_path / "a/b/c.json"))
    assert tools.read_json(str(tmp_path / "a/b/c.json")) == [1] and tools.check_isfile(str(tmp_path / "a/b/c.json"))
    assert tools.listdir_nohidden(str(tmp_path)) == ["a"]
    cfg = get_cfg_default()
    clean_cfg(cfg, "mcd")
    assert set(cfg.TRAINER) == {"NAME", "MCD"}


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


def test_registry_knows_names_and_suggests():
    registry = utils.Registry("TRAINER")

    @registry.register()
    class CoOp:
        pass

    assert registry.get("CoOp") is CoOp and registry.registered_names() == ["CoOp"]
    with pytest.raises(utils.UserError, match="unknown trainer 'Coop'.*nearest first: CoOp") as error:
        registry.get("Coop")
    assert isinstance(error.value, KeyError)


def test_logger_tees_switches_and_never_overwrites(tmp_path, capsys):
    one, two, console = tmp_path / "one", tmp_path / "two", sys.stdout
    try:
        for folder, text in ((one, "first"), (two, "second"), (one, "third")):
            utils.setup_logger(str(folder))
            print(text)
            assert max(folder.iterdir()).read_text() == f"{text}\n"  # at once: a killed run keeps its log
        utils.setup_logger(None)
    finally:
        sys.stdout = console
    assert capsys.readouterr().out == "first\nsecond\nthird\n"
    assert (one / "log.txt").read_text() == "first\n" and (two / "log.txt").read_text() == "second\n"
