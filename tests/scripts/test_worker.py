"""A worker's runs are those of train.py in processes of their own; the rest of its life is in test_launch.py."""

import os
import subprocess
import sys

import pytest
from chaos.lab import difference
from helpers.waiting import wait_for
from lib.worker import ROOT, Worker
from runs import argv


@pytest.fixture(scope="module")
def worker():
    found = Worker({**os.environ, "OMP_NUM_THREADS": "2"})
    yield found
    found.close()


@pytest.mark.parametrize("trainer", ["CoOp", "CLIP_Adapter"])
def test_a_run_is_to_the_bit_that_of_a_process_of_its_own(worker, trainer, tiny_bank, tmp_path):
    logs = [tmp_path / "whole.log", tmp_path / "forked.log"]
    whole, forked = (["train.py", *argv(tiny_bank, log.with_suffix(""), trainer)] for log in logs)
    with logs[0].open("w") as log:
        subprocess.run([sys.executable, *whole], cwd=ROOT, env=worker.environment, stdout=log, check=True)
    logs[1].touch()
    worker.start(forked, logs[1])
    wait_for(lambda: worker.poll() is not None, 120)
    assert worker.code == 0, logs[1].read_text()
    assert difference(tmp_path / "whole", tmp_path / "forked") == ""
    shown = [log.read_text().replace(str(log.with_suffix("")), "OUT") for log in logs]
    assert [line for line in shown[1].splitlines() if "accuracy" in line] == [
        line for line in shown[0].splitlines() if "accuracy" in line
    ]
