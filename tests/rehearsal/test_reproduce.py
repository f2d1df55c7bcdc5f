"""scripts/reproduce.sh in miniature: from the checks to each cell beside the paper's, and once more without a run."""

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
def reproduce(data, archive, features, tmp_path_factory):
    """reproduce(*flags, **environment) -> the completed process, on miniature data and a random CLIP, one seed, one
    epoch."""
    out = tmp_path_factory.mktemp("reproduce")
    short = Path(tempfile.mkdtemp(prefix="s"))  # options name a run's folder, and names have 255 characters at most
    (short / archive.name).symlink_to(archive)
    (short / "f").symlink_to(features)
    options = f"MODEL.BACKBONE.NAME {short}/{archive.name} FEATURES.DIR {short}/f FEATURES.VIEWS 1 OPTIM.MAX_EPOCH 1"
    options += " TRAINER.SHIP.EPOCHS 1"

    def run(*flags, root=data, **env):
        command = ["bash", "scripts/reproduce.sh", str(root), "1", *flags, "--", *options.split()]
        env = {**os.environ, "PYTHON": sys.executable, "OUTPUT": str(out), "OMP_NUM_THREADS": "1", **env}
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)

    run.out = out
    yield run
    shutil.rmtree(short)


@pytest.mark.slow
def test_a_table_is_made_and_set_beside_the_papers(reproduce):
    of = {"TABLES": "2", "DATASETS": "dtd eurosat", "SOURCE": "dtd", "SKIP": "weights check verify"}
    first = reproduce("--jobs", "2", **of)
    assert first.returncode == 0 and "4 done" in first.stdout, first.stdout + first.stderr
    assert "EuroSAT" in (reproduce.out / "reproduced.txt").read_text()
    (path,) = reproduce.out.glob("cross_dataset/eurosat/shots_16/CoOp_SHIP/*/seed1/results.json")
    stamp = path.stat().st_mtime_ns
    again = reproduce(**of)
    assert again.returncode == 0 and again.stdout.count("(done already)") == 4, again.stderr
    assert path.stat().st_mtime_ns == stamp


def test_a_failed_check_stops_it_and_says_what_to_do(reproduce, tmp_path):
    result = reproduce(root=tmp_path, TABLES="1", DATASETS="caltech101", SKIP="weights")
    assert result.returncode == 2 and "missing  caltech-101" in result.stdout
    assert "python scripts/data.py prepare caltech101" in result.stderr and f"--root {tmp_path}" in result.stderr
