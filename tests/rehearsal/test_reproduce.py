"""scripts/reproduce.py in miniature: from the checks to each cell beside the paper's, and once more without a run."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.rehearsal, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reproduce(data, archive, features, tmp_path_factory):
    """reproduce(*flags) -> the completed process, on miniature data and a random CLIP, one seed, one epoch."""
    out = tmp_path_factory.mktemp("reproduce")
    short = Path(tempfile.mkdtemp(prefix="s"))  # options name a run's folder, and names have 255 characters at most
    (short / archive.name).symlink_to(archive)
    (short / "f").symlink_to(features)
    options = (
        f"MODEL.BACKBONE.NAME {short}/{archive.name} FEATURES.DIR {short}/f FEATURES.VIEWS 1 OPTIM.MAX_EPOCH 1".split()
    )

    def run(*flags, root=data, check=("--skip-check", "--skip-verify")):
        words = [str(root), "1", *check, *flags, "--", *options, "TRAINER.SHIP.EPOCHS", "1"]
        return subprocess.run(
            [sys.executable, "scripts/reproduce.py", *words],
            cwd=ROOT,
            env={**os.environ, "OUTPUT": str(out), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    run.out = out
    yield run
    shutil.rmtree(short)


def test_a_table_is_made_and_set_beside_the_papers(reproduce):
    first = reproduce("--tables", "2", "--datasets", "eurosat", "--source", "dtd", "--jobs", "2")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Estimate: " in first.stdout and "2 epochs of CoOp on eurosat" in first.stdout
    assert "4 done" in first.stdout  # three on the target, and the source
    text = (reproduce.out / "reproduced.txt").read_text()
    assert "Table 2: Cross-dataset transfer" in text
    (row,) = [line for line in text.splitlines() if line.startswith("CoOp + SHIP") and "EuroSAT" in line]
    path = next(reproduce.out.glob("cross_dataset/eurosat/shots_16/CoOp_SHIP/*/seed1/results.json"))
    assert f"{json.loads(path.read_text())['metrics']['accuracy']:.2f}" in row and "the paper has ViT-B/16" in row
    stamp = path.stat().st_mtime_ns
    again = reproduce("--tables", "2", "--datasets", "eurosat", "--source", "dtd")
    assert again.returncode == 0 and again.stdout.count("done already") == 4 and "Estimate" not in again.stdout
    assert path.stat().st_mtime_ns == stamp


def test_a_dry_run_shows_all_and_runs_nothing(reproduce):
    before = sorted(reproduce.out.rglob("*"))
    result = reproduce("--dry-run", check=())
    assert result.returncode == 0, result.stderr
    for number, count in enumerate((121, 30, 15, 44, 44, 44), 1):
        assert f"Table {number}: {count} runs" in result.stdout
    assert "scripts/data.py check" in result.stdout and "scripts/verify.py --root" in result.stdout
    assert sorted(reproduce.out.rglob("*")) == before


def test_a_failed_check_stops_it_and_says_what_to_do(reproduce, tmp_path):
    flags = ("--tables", "1", "--datasets", "caltech101")
    result = reproduce(*flags, root=tmp_path, check=())
    assert result.returncode == 2 and "missing  caltech-101" in result.stdout
    assert f"python scripts/data.py prepare caltech101 --root {tmp_path}" in result.stderr
    nowhere = reproduce(*flags, root=tmp_path / "nowhere", check=())
    assert nowhere.returncode == 2 and "is no folder" in nowhere.stderr
