"""scripts/launch.py --slurm on a stand-in for Slurm (tests/helpers/slurm.py)."""

import pytest
from helpers.slurm import FakeSlurm
from helpers.waiting import wait_for

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
source: caltech101
source_trainer: CoOp
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
    """launch(text, *flags) -> the completed script, which has only submitted."""

    def run(text, *flags, **env):
        (ready.root / "mine.yaml").write_text(text)
        env["PATH"] = f"{slurm.bin}:{ready.environment()['PATH']}"
        env = {name: str(value) for name, value in env.items()}
        return ready.run("launch.py", "mine.yaml", "--slurm", *flags, **env)

    return run


def test_sources_come_first_and_targets_wait_for_them(launch, slurm, ready):
    result = launch(WITH_SOURCE, "partition=gpu", "time=2-0:30", "account=us")
    assert result.returncode == 0 and "3 waiting" in result.stdout, result.stderr
    first, then = slurm.submitted()
    for line in ("--partition=gpu", "--time=2-0:30", "--account=us", "--requeue", "--array=0-1%"):
        assert f"#SBATCH {line}" in first
    assert "dependency" not in first and "--dependency=afterany:100_0" in then
    wait_for(slurm.is_empty)
    assert launch(WITH_SOURCE).returncode == 0
    calls = ready.calls("train.py")
    assert len(calls) == 3 and "MODEL.INIT_WEIGHTS" in calls[2]


def test_a_preempted_job_hands_itself_back_and_its_run_goes_on(launch, slurm, ready, go):
    launch(FOUR, "--force", FAKE_GO=go)
    wait_for(lambda: len(ready.started()) == 2)
    slurm.announce_the_end("100_0")
    wait_for(lambda: len(ready.started()) == 3)
    go.touch()
    wait_for(slurm.is_empty)
    assert "4 done" in launch(FOUR).stdout
    assert len(ready.started()) == 5  # one of them twice
    forced = ["--force" in call for call in ready.calls("train.py")]
    assert forced.count(False) == 1  # the one that went on


def test_what_is_queued_is_not_submitted_twice(launch, slurm, ready, go):
    launch(FOUR, FAKE_GO=go)
    wait_for(lambda: len(ready.started()) == 2)
    assert "2 begun, 2 waiting" in launch(FOUR).stdout
    go.touch()
    wait_for(slurm.is_empty)
    result = launch(FOUR)
    assert result.returncode == 0 and "4 done" in result.stdout and "submitted" not in result.stdout
    assert len(slurm.submitted()) == 1 and len(ready.started()) == 4
    assert len(ready.calls("scripts/report.py")) == 1  # one table at the end


def test_an_option_without_a_value_is_refused(launch):
    assert "--slurm: invalid key_value value: 'gpu'" in launch(FOUR, "gpu").stderr
