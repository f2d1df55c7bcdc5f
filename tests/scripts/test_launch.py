"""How a list of runs is executed: side by side, in order, interrupted, by two launchers at once, and what is told."""

import re
import signal
import time

import pytest
from helpers.waiting import wait_for

SHOTS = {"SHOTS": "1 2 4"}


@pytest.fixture
def fewshot(ready):
    """fewshot(**environment) -> the finished fewshot.sh on eurosat with CoOp."""
    return lambda **env: ready.run("fewshot.sh", "eurosat", "1", "CoOp", **{**SHOTS, **env})


def test_several_runs_side_by_side_take_the_time_of_one(fewshot):
    begin = time.monotonic()
    result = fewshot(JOBS="3", FAKE_SECONDS="2")
    assert result.returncode == 0 and time.monotonic() - begin < 5.5
    assert "step 3" not in result.stdout  # their output would be mixed
    assert "3 done" in result.stdout


def test_threads_are_shared_out_where_runs_are_side_by_side(fewshot, ready):
    assert "OMP_NUM_THREADS None" in fewshot().stdout
    assert "OMP_NUM_THREADS 1" in ready.run("table1.sh", "eurosat", METHODS="CoOp", SEEDS="1", JOBS="1").stdout
    assert "OMP_NUM_THREADS 3" in fewshot(SHOTS="8", OMP_NUM_THREADS="3").stdout


def test_the_end_of_a_failed_runs_log_is_shown(fewshot):
    result = fewshot(JOBS="2", FAKE_FAILS="shots_2")
    assert result.returncode == 3
    shown = result.stderr.split("FAILED: CoOp/miniclip on eurosat, 2 shots, seed 1 (exit code 3)")[1]
    assert "step 24 of" in shown and "error: the data are gone" in shown and "step 2 of" not in shown


def test_a_failed_source_fails_its_targets_with_that_reason(ready):
    result = ready.run("cross_dataset.sh", "caltech101", "1", "eurosat", FAKE_FAILS="fewshot")
    assert result.returncode == 3 and "1 done, 3 failed" in result.stdout
    reason = "its source failed: CoOp_SHIP/miniclip on caltech101, 16 shots, seed 1"
    assert f"CoOp/miniclip-from_caltech101 on eurosat, 16 shots, seed 1: {reason}" in result.stderr
    assert [re.search("--trainer (\\S+)", call).group(1) for call in ready.calls("train.py")] == [
        "CoOp_SHIP",
        "ZeroshotCLIP",
    ]


def test_targets_wait_for_their_source(ready):
    ready.run("cross_dataset.sh", "caltech101", "1", "eurosat", "--jobs", "4", FAKE_SECONDS="0.5")
    first = ready.calls("train.py")[:2]
    assert {re.search("--trainer (\\S+)", call).group(1) for call in first} == {"CoOp_SHIP", "ZeroshotCLIP"}
    assert not any("INIT" in call for call in first)


def test_gpus_are_shared_out(fewshot, ready):
    assert fewshot(CUDA_VISIBLE_DEVICES="").returncode == 0
    shared = ready.run("fewshot.sh", "eurosat", "2", "CoOp", "--per-gpu", "2", CUDA_VISIBLE_DEVICES="3,5", **SHOTS)
    assert shared.returncode == 0 and "3 done" in shared.stdout
    logs = [path.read_text() for path in sorted(ready.root.rglob(".seed2.log"))]
    assert [log.split("CUDA_VISIBLE_DEVICES ")[1][0] for log in logs] == ["3", "5", "3"]
    none = ready.run("fewshot.sh", "eurosat", "3", "CoOp", "--per-gpu", "2", CUDA_VISIBLE_DEVICES="")
    assert none.returncode == 2 and "no GPU is visible" in none.stderr


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_the_run_and_does_not_start_the_next(ready, number, code):
    process = ready.start("fewshot.sh", "eurosat", "1", "CoOp", FAKE_SECONDS="60", **SHOTS)
    wait_for(ready.started)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code and "goes on from here" in err
    assert len(ready.started()) == 1 and "3 waiting" in out
    assert ready.run("fewshot.sh", "eurosat", "1", "CoOp", **SHOTS).returncode == 0  # nothing holds the folder


def test_two_launchers_never_make_one_run_twice(ready):
    words = ("fewshot.sh", "eurosat", "1", "CoOp")
    both = [ready.start(*words, FAKE_SECONDS="1", **SHOTS) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len(ready.started()) == 3 and "another process is at it; waiting" in "".join(outputs)


def test_a_killed_launcher_takes_its_runs_along(ready):
    words = ("base2new.sh", "eurosat", "1", "CoOp", "--jobs", "2")
    first = ready.start(*words, FAKE_SECONDS="60")
    wait_for(ready.started)
    first.kill()
    first.wait()
    wait_for(lambda: not ready.processes())
    assert ready.run(*words).returncode == 0 and len(ready.started()) == 2


def test_the_status_is_that_of_the_files(ready):
    words, env = ("table1.sh", "eurosat"), {"METHODS": "CoOp CoOp_SHIP ZeroshotCLIP", "SEEDS": "1"}
    ready.run(*words, FAKE_FAILS="/CoOp_SHIP/", **{**env, "METHODS": "CoOp CoOp_SHIP"})
    last = ready.start(
        *words, "--jobs", "1", FAKE_FAILS="/CoOp_SHIP/", FAKE_SECONDS="60", **{**env, "METHODS": "ZeroshotCLIP"}
    )
    wait_for(lambda: len(ready.started()) == 3)
    *rows, counts = ready.run(*words, "--status", **env).stdout.splitlines()
    last.terminate()
    assert last.wait() == 143
    assert counts == "1 done, 1 running, 1 failed, about 31 s left"
    assert re.fullmatch(r"done +CoOp/miniclip on eurosat, 16 shots, seed 1 +31 s  base 80.0 .*", rows[0])
    assert rows[1].startswith("failed") and rows[1].endswith("exit code 3; error: the data are gone")
    assert rows[2].startswith("running") and rows[2].endswith("0 s  80 ± 1 → 81")
    assert "1 waiting" in ready.run(*words, "--status", **env).stdout
    assert len(ready.started()) == 3


def test_what_is_left_is_judged_by_what_is_finished():
    from lib.run import Place, Run
    from lib.status import DONE, Status

    runs = [Run("base2new", "dtd", "CoOp", "miniclip", seed) for seed in (1, 2, 3)]
    status = Status(runs, Place(), cost=lambda run: run.seed)
    assert status.left() is None
    status.entries[0].state, status.entries[0].seconds = DONE, 10.0
    assert status.left() == 50.0 and status.left(jobs=2) == 25.0
