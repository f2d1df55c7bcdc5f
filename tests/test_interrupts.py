"""train.py interrupted by a signal: it says how to go on, and the run ends as if left alone."""

import re
import signal
import subprocess
import sys

import pytest
from helpers.waiting import wait_for
from runs import ROOT, argv, log, results, same_state

import train

LONG = "OPTIM.MAX_EPOCH 30".split()


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_run_ends_like_one_left_alone(tiny_bank, tmp_path, number, code):
    out, alone = tmp_path / "out", tmp_path / "alone"
    command = [sys.executable, str(ROOT / "train.py"), *argv(tiny_bank, out, "CoOp", *LONG)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: out.is_dir() and "epoch [4/30]" in log(out), seconds=60)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code and not (out / "results.json").exists()
    assert err == f"\ninterrupted by {number.name}; the same command goes on from the last checkpoint\n"

    for folder in (out, alone):
        train.main(argv(tiny_bank, folder, "CoOp", *LONG))
    assert int(re.search(r"resumed .* after (\d+) epochs", log(out)).group(1)) >= 3
    assert results(out)["metrics"] == results(alone)["metrics"] and same_state(out, alone)
