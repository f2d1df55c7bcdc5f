"""A sweep whose processes are killed: nothing is left behind, nothing made twice, and the table is the same."""

import os
import signal
import sys
import time

import pytest
from helpers.waiting import wait_for

TWELVE = """
task: base2new
datasets: [eurosat, caltech101]
seeds: [1, 2]
variants: [{trainer: ZeroshotCLIP}, {trainer: CoOp}, {trainer: CoOp_SHIP}]
report: [--format, csv]
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process tells only Linux to end it with its parent")


@pytest.fixture
def twelve(ready):
    """twelve(output, start=False, **environment): scripts/sweep.py with twelve runs, two side by side, and a table."""
    ready.with_report()
    (ready.root / "twelve.yaml").write_text(TWELVE)

    def run(output, start=False, **env):
        words = ("sweep.py", "twelve.yaml", "--jobs", "2")
        return (ready.start if start else ready.run)(*words, OUTPUT=output, **env)

    return run


def table(text: str) -> str:
    return text[text.index("dataset,") :]


def test_twelve_runs_survive_kills_of_the_sweep_and_of_two_workers(twelve, ready):
    undisturbed = twelve("calm")
    assert undisturbed.returncode == 0, undisturbed.stderr

    sweep = twelve("rough", start=True, FAKE_SECONDS="0.7")
    kill_a_worker(ready)
    wait_for(lambda: any((ready.root / "rough").rglob("results.json")))
    sweep.kill()
    sweep.communicate()
    wait_for(lambda: not ready.processes())  # a killed sweep takes its runs along
    done = [str(path.parent) for path in (ready.root / "rough").rglob("results.json")]
    starts = ready.started()

    sweep = twelve("rough", start=True, FAKE_SECONDS="0.7")
    kill_a_worker(ready)
    out, err = sweep.communicate(timeout=60)
    assert sweep.returncode == 0, err
    assert out.count("killed; it is started once more") == 1 and "12 done" in out and not ready.processes()
    assert table(out) == table(undisturbed.stdout) and table(out).count(",2,80.01") == 9
    assert [ready.started().count(one) for one in done] == [starts.count(one) for one in done]


def kill_a_worker(ready):
    before = len(ready.started())
    wait_for(lambda: len(ready.started()) >= before + 2 and ready.processes())
    os.kill(ready.processes()[0], signal.SIGKILL)


def test_a_run_that_is_killed_again_and_again_fails(ready):
    process = ready.start("base2new.sh", "eurosat", "1", "CoOp", FAKE_SECONDS="60")
    for start in (1, 2):
        wait_for(lambda count=start: len(ready.started()) == count)
        os.kill(ready.processes()[0], signal.SIGKILL)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 137 and len(ready.started()) == 2
    assert "killed; it is started once more" in out and "exit code 137" in err


def test_a_second_interrupt_does_not_wait(ready):
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    (ready.root / "train.py").write_text(stubborn + (ready.root / "train.py").read_text())
    process = ready.start("base2new.sh", "eurosat", "1", "CoOp", FAKE_SECONDS="60")
    wait_for(ready.started)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130 and not ready.processes()
