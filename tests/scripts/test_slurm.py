"""scripts/launch.py --slurm on a stand-in for Slurm (tests/helpers/slurm.py)."""

import os
import subprocess
import sys

import pytest
from helpers.slurm import FakeSlurm
from helpers.waiting import wait_for
from lib.slurm import gpus_of

FOUR = """
task: base2new
datasets: [eurosat]
seeds: [1, 2]
variants: [CoOp, CoOp_SHIP]
report: [--paired]
"""
WITH_SOURCE = """
task: cross_dataset
datasets: [eurosat]
seeds: [1]
source: {dataset: caltech101, trainer: CoOp}
variants:
- ZeroshotCLIP
- {trainer: CoOp, start: [MODEL.INIT_WEIGHTS]}
"""


@pytest.fixture
def slurm(tmp_path):
    found = FakeSlurm(tmp_path / "slurm")
    yield found
    wait_for(found.is_empty)


@pytest.fixture
def go(tmp_path):
    """A file that runs wait for, where it is their FAKE_GO."""
    yield tmp_path / "go"
    (tmp_path / "go").touch()


@pytest.fixture
def launch(ready, slurm):
    """launch(text, *flags, start=False) -> the script's completed process, or with `start` the running one."""

    def run(text, *flags, start=False, **env):
        (ready.root / "mine.yaml").write_text(text)
        env["PATH"] = f"{slurm.bin}:{ready.environment()['PATH']}"
        env = {name: str(value) for name, value in env.items()}
        return (ready.start if start else ready.run)("launch.py", "mine.yaml", "--slurm", *flags, **env)

    return run


def test_sources_come_first_and_targets_wait_for_them(launch, slurm, ready):
    result = launch(WITH_SOURCE, "partition=gpu", "time=2-0:30", "account=us")
    assert result.returncode == 0 and "3 done" in result.stdout, result.stderr
    first, then = slurm.submitted()
    for line in ("--partition=gpu", "--time=2-0:30", "--account=us", "--requeue", "--array=0-1%"):
        assert f"#SBATCH {line}" in first
    assert "dependency" not in first and "--dependency=afterany:100_0" in then
    calls = ready.calls("train.py")
    assert len(calls) == 3 and "MODEL.INIT_WEIGHTS" in calls[2]


def test_what_starts_from_a_failed_source_fails(launch):
    result = launch(WITH_SOURCE, FAKE_FAILS="/fewshot/")
    assert result.returncode == 1 and "1 done, 2 failed" in result.stdout
    assert "caltech101/shots_16/CoOp/miniclip/seed1: FAILED: error: the data are gone; exit code 3" in result.stderr
    assert "CoOp/miniclip-from_caltech101/seed1: FAILED: " in result.stderr


def test_a_preempted_job_hands_itself_back_and_its_run_goes_on(launch, slurm, ready, go):
    process = launch(FOUR, "--force", start=True, FAKE_GO=go)
    wait_for(lambda: len(ready.started()) == 2)
    slurm.announce_the_end("100_0")
    wait_for(lambda: len(ready.started()) == 3)
    go.touch()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "4 done" in out, err
    assert len(ready.started()) == 5  # one of them twice
    forced = ["--force" in call for call in ready.calls("")[:-1]]
    assert forced.count(False) == 1  # the one that went on


def test_jobs_go_on_without_the_script_and_are_not_submitted_twice(launch, slurm, ready, go):
    process = launch(FOUR, start=True, FAKE_GO=go)
    wait_for(lambda: len(ready.started()) == 2)
    process.terminate()
    assert "scancel 100 ends them" in process.communicate(timeout=20)[1] and process.returncode == 143
    assert "2 running, 2 waiting" in launch(FOUR, "--status").stdout
    go.touch()
    result = launch(FOUR)
    assert result.returncode == 0 and "4 done" in result.stdout and "submitted" not in result.stdout
    assert len(slurm.submitted()) == 1 and len(ready.started()) == 4
    assert len(ready.calls("scripts/report.py")) == 1  # one table at the end


def test_a_gpu_may_have_several_runs(launch, ready):
    result = launch(FOUR, "gres=gpu:a100:2", "--per-gpu", "1", CUDA_VISIBLE_DEVICES="4,7", FAKE_SECONDS="0.5")
    assert result.returncode == 0 and "submitted 2 jobs as 100" in result.stdout, result.stderr
    logs = [path.read_text() for path in ready.root.rglob(".seed*.log")]
    assert sorted(log.split("CUDA_VISIBLE_DEVICES ")[1].split()[0] for log in logs) == ["4", "4", "7", "7"]


def test_refusals_are_sentences(ready, launch):
    assert "--slurm: expected KEY=VALUE, found 'gpu'" in launch(FOUR, "gpu").stderr
    command = [sys.executable, str(ready.root / "scripts/launch.py"), str(ready.root / "mine.yaml"), "--slurm"]
    nowhere = subprocess.run(command, env={**os.environ, "PATH": str(ready.bin)}, capture_output=True, text=True)
    assert nowhere.returncode == 2 and nowhere.stderr.startswith("error: --slurm: squeue does not answer")


def test_the_gpus_of_a_job():
    options = [{}, {"gpus_per_node": "4"}, {"gres": "gpu:a100:2"}, {"gres": "gpu"}]
    assert [gpus_of(one) for one in options] == [1, 4, 2, 1]
