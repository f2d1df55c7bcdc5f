"""A launcher's runs are those of train.py in processes of their own; the rest of its life is in test_launch.py."""

import subprocess
import sys

import pytest
from chaos.lab import difference
from lib.launcher import Launcher
from lib.runs import ROOT, Run

QUICK = "OPTIM.MAX_EPOCH 2 DATASET.NUM_SHOTS 2 TEST.ALL_SUBSET 20 VERBOSE False".split()


@pytest.mark.parametrize("trainer", ["CoOp", "CLIP_Adapter"])
def test_a_run_is_to_the_bit_that_of_a_process_of_its_own(trainer, tiny_bank, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    options = tuple(zip(QUICK[::2], QUICK[1::2]))
    whole, forked = (
        Run(
            "base2new",
            "caltech101",
            trainer,
            "miniclip",
            1,
            2,
            options,
            output=str(tmp_path / name),
            bank=str(tiny_bank),
        )
        for name in ("whole", "forked")
    )
    subprocess.run([sys.executable, *whole.command()], capture_output=True, check=True)
    assert Launcher([forked], [""]).run() == 0, forked.log.read_text()
    assert difference(whole.results.parent, forked.results.parent) == ""
    assert "* accuracy: " in forked.log.read_text()
