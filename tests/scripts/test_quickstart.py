"""scripts/quickstart.py with a stand-in for train.py: what it runs, what it skips, what it shows at the end."""

import re

import pytest
from helpers.checkout import OF_THE_QUICKSTART


@pytest.fixture
def quickstart(checkout, tmp_path):
    """quickstart(*arguments) -> the completed process, with the real report.py; its results go to tmp_path/out."""
    checkout.with_report()
    checkout.add_configs(*OF_THE_QUICKSTART)

    def run(*arguments, **env):
        return checkout.run("quickstart.py", "--output", str(tmp_path / "out"), *arguments, **env)

    return run


def trainers(calls):
    return [re.search(r"--trainer (\S+)", call).group(1) for call in calls]


def test_runs_three_trainers_and_prints_the_table_and_the_chart(checkout, quickstart, tmp_path):
    out = quickstart().stdout
    calls = checkout.calls("train.py")
    assert trainers(calls) == ["ZeroshotCLIP", "CoOp", "CoOp_SHIP"]
    assert all("SUBSAMPLE_CLASSES base" in call and "--root" not in call for call in calls)
    assert "/ZeroshotCLIP/miniclip/seed1 " in calls[0]
    assert f"--output-dir {tmp_path}/out/base2new/caltech101/shots_16/CoOp/miniclip_ep20/seed1 " in calls[1]
    assert "[2/3] CoOp/miniclip_ep20 on caltech101, 16 shots, seed 1: base 80.0  new 50.0  H 61.5  all 60.0" in out
    assert "step 3 of" in out  # what a run prints is seen while it runs
    assert "Base-to-new generalization, MiniCLIP" in out and "seconds a stage" in out
    chart = tmp_path / "out" / "base2new.png"
    assert f"chart: {chart}" in out and chart.stat().st_size > 10_000


def test_finished_runs_are_skipped_and_only_the_asked_ones_reported(checkout, quickstart):
    first = quickstart("--seeds", "1", "2").stdout
    assert len(checkout.calls("train.py")) == 6 and "paired differences" in first
    second = quickstart("--seeds", "1", "--datasets", "caltech101", "eurosat").stdout
    calls = checkout.calls("train.py")
    assert len(calls) == 3 and all("eurosat.yaml" in call for call in calls)
    assert second.count("done already") == 3 and "paired differences" not in second


def test_a_damaged_result_says_what_to_do(quickstart, tmp_path):
    quickstart()
    bad = tmp_path / "out/base2new/caltech101/shots_16/CoOp/miniclip_ep20/seed1/results.json"
    bad.write_text("{")
    result = quickstart()
    assert result.returncode == 2 and f"{bad} is damaged" in result.stderr and "delete it" in result.stderr


def test_the_command_line_is_that_of_base2new_sh(quickstart, checkout, tmp_path):
    checkout.run("setup.sh")
    checkout.run("base2new.sh", "caltech101", "1", "CoOp", "miniclip_ep20", OUTPUT=str(tmp_path / "sh"))
    (call,) = checkout.calls("train.py")
    quickstart()
    assert call == checkout.calls("train.py")[1].replace("/out/", "/sh/")


def test_an_unknown_dataset_is_an_error_without_traceback(checkout, quickstart):
    result = quickstart("--datasets", "nowhere")
    assert result.returncode == 2 and checkout.calls("train.py") == []
    assert "error: " in result.stderr and "nowhere" in result.stderr and "Traceback" not in result.stderr


def test_a_failed_run_fails_the_quickstart(checkout, quickstart):
    result = quickstart(FAKE_FAILS="/CoOp/")
    assert result.returncode == 3 and len(checkout.calls("train.py")) == 3 and "1 failed" in result.stdout
