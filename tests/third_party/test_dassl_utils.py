"""dassl.utils: what an import costs, registry, JSON files, the logger."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
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
