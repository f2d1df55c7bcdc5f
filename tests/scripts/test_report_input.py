"""scripts/report.py on damaged, missing and unfinished results: named and skipped, or an error with what to run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def good_run(write_run):
    write_run({"base": 83.0, "new": 54.0})


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "damaged JSON"),
        ("", "damaged JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "'backbone' is missing"),
        ('{"backbone": {}}', "'task' is missing"),
    ],
)
def test_a_damaged_file_is_named_and_skipped(good_run, report, tmp_path, text, said):
    bad = tmp_path / "output" / "bad" / "results.json"
    bad.parent.mkdir()
    bad.write_text(text)
    result = report()
    assert f"skipped {bad}: {said}" in result.err
    assert "83.00" in result.out


@pytest.mark.parametrize("value", ["high", 101.0, -1.0, float("nan"), True])
def test_a_metric_that_is_no_percentage_is_refused(good_run, write_run, report, value):
    path = write_run({"base": value}, trainer="KgCoOp")
    assert f"skipped {path}: metric 'base' should be a percentage" in report().err


@pytest.mark.parametrize("key, value", [("seed", "1"), ("seed", None), ("task", 3), ("backbone", "MiniCLIP")])
def test_a_field_of_the_wrong_kind_is_named(good_run, write_run, report, key, value):
    path = write_run({"base": 1.0}, trainer="KgCoOp")
    data = json.loads(path.read_text())
    data[key] = value
    path.write_text(json.dumps(data))
    assert f"skipped {path}: '{key}'" in report().err


def command(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPTS / "report.py"), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def test_a_missing_or_empty_folder_says_what_to_run(tmp_path):
    for folder, said in ((tmp_path / "nowhere", "does not exist"), (tmp_path, "no results.json below")):
        result = command(folder)
        assert result.returncode == 2
        assert result.stderr.startswith("error: ") and said in result.stderr
        assert "bash scripts/quickstart.sh" in result.stderr


def test_unfinished_runs_are_named(tmp_path):
    (tmp_path / "seed1").mkdir()
    (tmp_path / "seed1" / "log.txt").touch()
    assert f"Not finished yet, or broken off: {tmp_path / 'seed1'} (1 in all)" in command(tmp_path).stderr
