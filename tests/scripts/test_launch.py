"""How scripts/launch.py makes a list of runs: in order, side by side, interrupted, killed; with a stand-in for
train.py."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from helpers.waiting import wait_for

FEWSHOT = ("fewshot.sh", "eurosat", "1", "CoOp")
SHOTS = {"SHOTS": "1 2 4"}


@pytest.fixture
def fewshot(ready):
    """fewshot(*flags, **environment) -> the finished fewshot.sh on eurosat with CoOp, three runs."""
    return lambda *flags, **env: ready.run(*FEWSHOT, *flags, **{**SHOTS, **env})


def test_finished_runs_are_skipped_and_unfinished_ones_are_not(fewshot, ready):
    folder = ready.root / "output/fewshot/eurosat/shots_2/CoOp/miniclip/seed1"
    folder.mkdir(parents=True)
    (folder / "log.txt").touch()  # a run that broke off
    assert fewshot().returncode == 0 and len(ready.calls("train.py")) == 3
    again = fewshot(SHOTS="1 2 4 8")
    assert again.returncode == 0 and "4 done" in again.stdout and len(ready.calls("train.py")) == 1
    assert fewshot("--force").returncode == 0
    assert len([call for call in ready.calls("train.py") if call.startswith("train.py --force ")]) == 3


def test_a_finished_run_of_other_options_is_stale_and_so_is_an_edited_one(ready):
    words, key = ("base2new.sh", "eurosat", "1", "CoOp"), ("--", "DATASET.TEMPLATE")
    ready.run(*words, *key, "a photo, of {}")
    ready.calls("")
    result = ready.run(*words, *key, "a photo: of {}")  # the same folder
    assert result.returncode == 1 and ready.calls("train.py") == []
    assert "DATASET.TEMPLATE was 'a photo, of {}', is now 'a photo: of {}'; --force makes" in result.stderr
    assert ready.run(*words, "--force", *key, "a photo: of {}").returncode == 0
    path = next(ready.root.rglob("results.json"))
    path.write_text(path.read_text().replace("80.01", "90.01"))
    result = ready.run(*words, *key, "a photo: of {}")
    assert result.returncode == 1 and "1 stale" in result.stdout and "it was edited" in result.stderr


def test_a_failing_run_does_not_stop_the_others_and_shows_the_end_of_its_log(fewshot, ready):
    result = fewshot("--jobs", "2", FAKE_FAILS="shots_2")
    assert result.returncode == 1 and "2 done, 1 failed" in result.stdout
    shown = result.stderr.split("failed  error: the data are gone; exit code 3")[1]
    assert "step 24 of" in shown and "step 2 of" not in shown
    assert "step 3" not in result.stdout  # with several side by side it would be mixed
    ready.calls("")
    assert fewshot().returncode == 0 and len(ready.calls("train.py")) == 1


def test_the_only_run_is_seen_as_it_comes_and_failed_where_it_ends_without_results(ready):
    result = ready.run("base2new.sh", "eurosat", "1", FAKE_NO_RESULTS="1")
    assert result.returncode == 1 and "exit code 0" in result.stderr and "step 24 of" in result.stdout


def test_targets_wait_for_their_source_and_fail_with_it(ready):
    words = ("cross_dataset.sh", "caltech101", "1", "eurosat")
    result = ready.run(*words, FAKE_FAILS="fewshot")
    assert result.returncode == 1 and "1 done, 3 failed" in result.stdout
    reason = "its source is failed: output/fewshot/caltech101/shots_16/CoOp_SHIP/miniclip/seed1"
    assert f"CoOp/miniclip-from_caltech101/seed1: failed  {reason}" in result.stderr
    assert len(ready.calls("train.py")) == 2
    assert ready.run(*words, "--jobs", "4", FAKE_SECONDS="0.5").returncode == 0
    calls = ready.calls("train.py")
    assert "--trainer CoOp_SHIP" in calls[0] and "INIT" not in calls[0] and len(calls) == 3
    assert all("MODEL.INIT_WEIGHTS output/fewshot/caltech101" in call for call in calls[1:])


def test_several_runs_side_by_side(fewshot, ready):
    begin = time.monotonic()
    assert fewshot("--jobs", "3", FAKE_SECONDS="2").returncode == 0 and time.monotonic() - begin < 5.5
    logs = [path.read_text() for path in ready.root.rglob(".seed1.log")]
    assert len(logs) == 3 and all("OMP_NUM_THREADS 1" in log for log in logs)
    assert "OMP_NUM_THREADS None" in fewshot(SHOTS="8").stdout


def test_gpus_are_dealt_out(fewshot, ready):
    assert fewshot("--per-gpu", "1", CUDA_VISIBLE_DEVICES="3,5", FAKE_SECONDS="0.5").returncode == 0
    used = [path.read_text().split("CUDA_VISIBLE_DEVICES ")[1][0] for path in ready.root.rglob(".seed1.log")]
    assert {*used} == {"3", "5"} and len(used) == 3
    none = fewshot("--per-gpu", "2", CUDA_VISIBLE_DEVICES="")
    assert none.returncode == 2 and "no GPU is visible" in none.stderr


def test_the_status_is_that_of_the_files_and_a_dry_run_prints_the_commands(fewshot, ready):
    fewshot(FAKE_FAILS="shots_2", SHOTS="1 2")
    call = ready.calls("train.py")[1]
    process = ready.start(*FEWSHOT, SHOTS="4", FAKE_SECONDS="60")
    wait_for(lambda: any("81" in path.read_text() for path in ready.root.glob("output/fewshot/*/shots_4/*/*/.*.log")))
    *rows, counts = fewshot("--status", SHOTS="1 2 4 8").stdout.splitlines()
    assert counts == "# 1 done, 1 failed, 1 begun, 1 waiting" and len(ready.started()) == 3
    assert rows[0] == "done     output/fewshot/eurosat/shots_1/CoOp/miniclip/seed1  base 80.0, new 50.0"
    assert rows[1].startswith("failed") and rows[1].endswith("error: the data are gone; exit code 3")
    assert rows[2].startswith("begun") and rows[2].endswith("80 ± 1 → 81") and rows[3].startswith("waiting")
    process.terminate()
    assert process.wait() == 143
    assert fewshot("--dry-run", SHOTS="1 2").stdout.splitlines()[0] == f"python {call}"
    assert len(ready.calls("train.py")) == 1


# ---- interrupts


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_the_run_and_does_not_start_the_next(ready, number, code):
    process = ready.start(*FEWSHOT, FAKE_SECONDS="60", **SHOTS)
    wait_for(ready.started)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code and "goes on from here" in err
    assert len(ready.started()) == 1 and not ready.processes()
    assert ready.run(*FEWSHOT, **SHOTS).returncode == 0


def test_a_signal_to_every_process_at_once_lets_the_run_save(ready):
    process = ready.start("base2new.sh", "eurosat", "1", "CoOp", FAKE_SECONDS="60", FAKE_SAVES="2")
    wait_for(ready.processes)
    (run,) = ready.processes()
    server = re.search(r"PPid:\s+(\d+)", Path(f"/proc/{run}/status").read_text()).group(1)
    for pid in (process.pid, int(server), run):  # as a cluster or systemd sends it
        os.kill(pid, signal.SIGTERM)
    assert process.wait(timeout=30) == 143 and any(ready.root.rglob("saved"))


def test_a_killed_run_fails_alone(ready):
    process = ready.start(*FEWSHOT, FAKE_SECONDS="1", **SHOTS)
    wait_for(ready.processes)
    os.kill(ready.processes()[0], signal.SIGKILL)
    out, err = process.communicate()
    assert "exit code -9" in err and "2 done, 1 failed" in out


# ---- surroundings


@pytest.mark.parametrize("flags", [(), ("--status",)])
def test_a_reader_that_leaves_is_no_accident(ready, flags):
    process = ready.start(*FEWSHOT, *flags, FAKE_SECONDS="0.3", **SHOTS)
    process.stdout.close()
    assert "Traceback" not in process.stderr.read() and process.wait(timeout=30) in (0, 141)
    assert ready.run(*FEWSHOT, **SHOTS).returncode == 0


def test_without_a_set_up_it_runs_nothing(checkout):
    result = checkout.run("base2new.sh", "caltech101", "1")
    assert result.returncode == 2 and "bash scripts/setup.sh" in result.stderr
    assert checkout.run("base2new.sh", "caltech101", "1", CONDA_PREFIX="/opt/conda").returncode == 0
    assert len(checkout.calls("train.py")) == 1
