"""train.py interrupted by a signal: nothing but the epoch at hand is lost, and the run ends as if left alone."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import torch
from helpers.waiting import wait_for
from runs import argv, log, newest_state, results

import train

ROOT = Path(__file__).resolve().parent.parent
LONG = "OPTIM.MAX_EPOCH 30 TRAIN.CHECKPOINT_SECONDS 1000 TRAIN.PRINT_FREQ 1".split()


def test_an_interrupted_run_saves_and_ends_like_one_left_alone(tiny_bank, tmp_path):
    out, alone = tmp_path / "out", tmp_path / "alone"
    command = [sys.executable, str(ROOT / "train.py"), *argv(tiny_bank, out, "CoOp", *LONG)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: out.is_dir() and "epoch [4/30]" in log(out), seconds=60)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143 and not (out / "results.json").exists()
    assert err == "interrupted by SIGTERM; the same command goes on from the last checkpoint\n"

    for folder in (out, alone):
        train.main(argv(tiny_bank, folder, "CoOp", *LONG))
    begun = int(re.search(r"resumed .* after (\d+) epochs", log(out)).group(1))
    reached = max(int(epoch) for epoch in re.findall(r"epoch \[(\d+)/30\]", log(out).split("resumed")[0]))
    assert 1 < begun <= reached  # by the clock alone, the first epoch would be the last one saved
    assert results(out)["metrics"] == results(alone)["metrics"]
    states = newest_state(out), newest_state(alone)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
