"""Something about the machine is wrong: the run ends as usual or in a sentence, and can be continued elsewhere."""

import os
import resource
import subprocess
import sys

import pytest
from chaos.lab import ROOT, difference

POSIX = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("changes", [POSIX, {"HOME": "/dev/null"}, {"TMPDIR": "/nowhere"}], ids=repr)
def test_environments(lab, changes):
    (whole, _), out = lab.whole("images"), lab.new()
    command = [sys.executable, "train.py", *lab.command("images", out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **changes}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert difference(whole, out) == ""


@pytest.mark.parametrize("size", [4_000, 100_000])
def test_files_that_cannot_become_large(lab, size):
    out = lab.new()
    done = lab.run("CoOp_SHIP", out, prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    assert done.code and not done.fault, done.fault
    lab.check_continues("CoOp_SHIP", out)


def test_output_that_nobody_can_write(lab):
    def fill():
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    out = lab.new()
    assert not lab.run("CoOp", out, prepare=fill).fault
    lab.check_continues("CoOp", out)


@pytest.mark.parametrize("place", ["file", "file/run", "n" * 300])
def test_folders_that_cannot_be_made(lab, place):
    (lab.folder / "file").touch()
    done = lab.run("CoOp", lab.new(), ["--output-dir", lab.folder / place])
    assert done.code and not done.fault, done.fault
