"""Scripts as they are, on miniature data and a random CLIP: one protocol, and reproduce.sh from the checks to each cell
beside the paper's."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.rehearsal
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shell(data, archive, features, tmp_path_factory):
    """shell(script, words ..., KEY=VALUE ...) -> the completed process, with one epoch."""
    out = tmp_path_factory.mktemp("reproduce")
    short = Path(tempfile.mkdtemp(prefix="s"))  # options name a run's folder, and names have 255 characters at most
    (short / archive.name).symlink_to(archive)
    (short / "f").symlink_to(features)
    options = f"MODEL.BACKBONE.NAME {short}/{archive.name} FEATURES.DIR {short}/f FEATURES.VIEWS 1 OPTIM.MAX_EPOCH 1"
    options += " TRAINER.SHIP.EPOCHS 1"

    def run(script, *words, **env):
        command = ["bash", f"scripts/{script}.sh", *map(str, words), "--", *options.split()]
        env = {
            **os.environ,
            "DATA": str(data),
            "PYTHON": sys.executable,
            "OUTPUT": str(out),
            "OMP_NUM_THREADS": "1",
            **env,
        }
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)

    run.out = out
    yield run
    shutil.rmtree(short)


def test_a_script_runs_as_it_is_and_skips_what_is_done(shell):
    for _ in range(2):
        done = shell("fewshot", "dtd", 1, "ZeroshotCLIP", "vit_b16", SHOTS="1")
        assert done.returncode == 0 and "1 done" in done.stdout, done.stdout + done.stderr
        (path,) = shell.out.rglob("results.json")
    assert len([*path.parent.glob("log.txt*")]) == 1
    shutil.rmtree(shell.out / "fewshot")


@pytest.mark.slow
def test_a_table_is_made_and_set_beside_the_papers(shell, data):
    of = {"TABLES": "2", "DATASETS": "dtd eurosat", "SOURCE": "dtd", "SKIP": "weights check verify"}
    first = shell("reproduce", data, 1, "--jobs", 2, **of)
    assert first.returncode == 0 and "4 done" in first.stdout, first.stdout + first.stderr
    assert "EuroSAT" in (shell.out / "reproduced.txt").read_text()


def test_a_failed_check_stops_it_and_says_what_to_do(shell, tmp_path):
    result = shell("reproduce", tmp_path, 1, TABLES="1", DATASETS="caltech101", SKIP="weights")
    assert result.returncode == 2 and "missing  caltech-101" in result.stdout
    assert "python scripts/data.py prepare caltech101" in result.stderr and f"--root {tmp_path}" in result.stderr
