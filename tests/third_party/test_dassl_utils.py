"""dassl.utils: what an import costs, registry, files, logger, images, seeds, meters."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from dassl import utils

LIGHT = """
import sys
import dassl.utils.errors, dassl.config, dassl.data.datasets
assert "torch" not in sys.modules, "PyTorch was imported"
from dassl.utils import *
import dassl.utils
assert all(name in globals() for name in dassl.utils.__all__) and dassl.utils.tools.read_image is read_image
"""


def test_errors_and_configurations_need_no_pytorch():
    path = Path(__file__).resolve().parents[2] / "third_party"
    subprocess.run([sys.executable, "-c", LIGHT], check=True, env={**os.environ, "PYTHONPATH": str(path)})
    with pytest.raises(ImportError, match="UserErrors"):
        from dassl.utils import UserErrors  # noqa: F401


def test_registry_knows_names_and_suggests():
    registry = utils.Registry("TRAINER")

    @registry.register()
    class CoOp:
        pass

    class Zero:
        pass

    registry.register(Zero)
    assert registry.get("CoOp") is CoOp and registry.registered_names() == ["CoOp", "Zero"] and "Zero" in registry
    with pytest.raises(utils.UserError, match="unknown trainer 'Coop'.*nearest first: CoOp, Zero") as error:
        registry.get("Coop")
    assert isinstance(error.value, KeyError) and not str(error.value).startswith('"')
    with pytest.raises(utils.UserError, match="already taken"):
        registry.register(Zero)
    registry.register(Zero, force=True)


def test_json_is_whole_or_old(tmp_path):
    path = tmp_path / "sub" / "a.json"
    utils.write_json({"x": [1, 2]}, str(path))
    assert utils.read_json(str(path)) == {"x": [1, 2]}
    with pytest.raises(TypeError):
        utils.write_json({"x": [1], "y": object()}, str(path))
    assert json.loads(path.read_text()) == {"x": [1, 2]}
    assert utils.listdir_nohidden(str(path.parent)) == ["a.json"]  # no temporary file is left
    path.write_text('{"x": ')
    with pytest.raises(utils.UserError, match="a.json is not valid JSON.*line 1"):
        utils.read_json(str(path))
    with pytest.raises(FileNotFoundError, match="gone.json"):
        utils.read_json(str(tmp_path / "gone.json"))


def test_logger_tees_switches_and_never_overwrites(tmp_path, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    console = sys.stdout
    try:
        utils.setup_logger(str(one))
        print("first")
        assert (one / "log.txt").read_text() == "first\n"  # at once: a killed run keeps its log
        utils.setup_logger(str(two))
        print("second")
        utils.setup_logger(str(one))
        print("third")
        utils.setup_logger(str(one))
        print("fourth")
        utils.setup_logger(None)
        assert isinstance(sys.stdout, utils.Logger) and sys.stdout.console is console
    finally:
        sys.stdout = console
    assert capsys.readouterr().out == "first\nsecond\nthird\nfourth\n"
    assert (one / "log.txt").read_text() == "first\n" and (two / "log.txt").read_text() == "second\n"
    later = sorted(p for p in one.iterdir() if p.name.startswith("log.txt-2"))
    assert sorted(p.read_text() for p in later) == ["fourth\n", "third\n"]


def test_environment_names_the_dassl_in_use_and_others(tmp_path, monkeypatch):
    (tmp_path / "dassl").mkdir()
    (tmp_path / "dassl" / "__init__.py").write_text("")
    assert str(tmp_path / "dassl") not in utils.other_installs()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert utils.other_installs() == [str(tmp_path / "dassl")]
    first, second = utils.collect_env_info().splitlines()[:2]
    assert first.startswith("dassl 0.6.3") and str(tmp_path / "dassl") in second


def test_seeds_and_meters():
    draws = []
    for seed in (5, 5, 6):
        utils.set_random_seed(seed)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1] and not {*draws[0]} & {*draws[2]}
    metrics = utils.MetricMeter()
    metrics.update({"loss": 1.0, "acc": 50})
    metrics.update({"loss": 3.0, "acc": 100})
    assert str(metrics) == "loss 3.0000 (2.0000) acc 100.0000 (75.0000)"
