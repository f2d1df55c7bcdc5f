"""scripts/report.py on hostile input and awkward terminals: a sentence each, no traceback, no hang, little memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "report.py"


@pytest.fixture
def good_run(write_run):
    return write_run({"base": 83.0, "new": 54.0})


def command(*arguments, **more):
    text = {"capture_output": True, "text": True, "timeout": 60, **more}
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], **text)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"\xff\xfe", "damaged: no UTF-8"),
        (b'{"seed": ' + b"9" * 10_000 + b"}", "damaged JSON (Exceeds the limit"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b" " * (16 * 2**20 + 1), "larger than 16 MiB"),
        (b'"text"', "expected a JSON object, found str"),
    ],
)
def test_content_that_is_no_results(good_run, report, tmp_path, content, said):
    bad = tmp_path / "output" / "bad" / "results.json"
    bad.parent.mkdir()
    bad.write_bytes(content)
    result = report()
    assert f"skipped {bad}: {said}" in result.err and "83.00" in result.out


HUGE = 10**400


@pytest.mark.parametrize(
    "change, said",
    [
        ({"seed": HUGE}, "'seed' should be a number of a few digits"),
        ({"shots": -HUGE}, "'shots' should be a number of a few digits"),
        ({"metrics": {"base": HUGE}}, "metric 'base' should be a percentage, found 1000"),
        ({"metrics": {"base": float("inf")}}, "metric 'base' should be a percentage, found inf"),
        ({"metrics": {"a\nb": 1.0}}, "'metrics' should have names of one line"),
        ({"subset": {"base": {"images": HUGE, "of": 1}}}, "'subset' of 'base'"),
        ({"trainer": "Co\nOp"}, "'trainer' should be one line"),
        ({"trainer": "\x1b[31m"}, "'trainer' should be one line"),
        ({"dataset": "\ud800"}, "'dataset' should be one line"),
        ({"task": "x" * 5000}, "'task' should be one line of at most 200 characters"),
        ({"source": ["a"]}, "'source' should be str"),
        ({"plugins": "SHIP"}, "'plugins' should be list"),
        ({"unsupported": [1]}, "'unsupported' should be dict"),
        ({"identity": ["SEED"]}, "'identity' should be dict"),
        ({"extra": "x"}, "'extra' should be dict"),
    ],
)
def test_values_of_wrong_kinds_and_sizes(write_run, report, change, said):
    write_run({"base": 83.0, "new": 54.0}, "KgCoOp")
    path = write_run({"base": 1.0})
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    result = report()
    (line,) = [line for line in result.err.splitlines() if "skipped" in line]
    assert f"skipped {path}: {said}" in line and len(line) < 600
    assert "83.00" in result.out


@pytest.mark.parametrize(
    "change",
    [{"seconds": {"a": HUGE}, "peak_memory_mb": -HUGE}, {"identity": {"A": [[HUGE]]}}, {"bank": 5, "command": 1}],
)
def test_what_does_no_harm_is_no_reason_to_skip(write_run, report, tmp_path, change):
    path = write_run({"base": 83.0, "new": 54.0})
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    result = report("--seconds")
    assert "83.00" in result.out and not result.err


def test_names_may_hold_what_charts_and_pages_mean_something_by(write_run, report, tmp_path):
    for config in ("$\\frac$", "<script>", "a b"):
        write_run({"base": 83.0, "new": 54.0}, dataset="$x^{$", config=config)
    write_run({"accuracy": 1.0}, task="a../b")
    report("--plot", tmp_path / "chart.svg", "--html", tmp_path / "page.html")
    assert '<script>"' not in (tmp_path / "page.html").read_text()
    assert (tmp_path / "chart-a.._b.svg").exists()


def test_pipes_and_devices_are_not_read(good_run, tmp_path):
    """Below a folder and named, as themselves and behind a link."""
    output = tmp_path / "output"
    for name in ("pipe", "zero", "folder"):
        (output / name).mkdir()
    os.mkfifo(output / "pipe" / "results.json")
    (output / "zero" / "results.json").symlink_to("/dev/zero")
    (output / "folder" / "results.json").mkdir()
    result = command(output, output / "pipe" / "results.json", "/dev/zero")
    assert result.returncode == 0 and "83.00" in result.stdout and "Traceback" not in result.stderr
    skipped = [line for line in result.stderr.splitlines() if "skipped" in line]
    assert len(skipped) == 3 and all("expected a file" in line or "Is a directory" in line for line in skipped)
    alone = command(output / "pipe" / "results.json")
    assert alone.returncode == 2 and "expected a file, found a pipe" in alone.stderr


def test_a_terminal_without_the_signs(write_run, tmp_path):
    for seed, base in ((1, 80.0), (2, 82.0)):
        write_run({"base": base, "new": 50.0}, seed=seed, dataset="日本")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = command(tmp_path / "output", env=environment)
    assert result.returncode == 0 and "81.00 +- 1.00" in result.stdout and "\\u65e5\\u672c" in result.stdout


def test_a_reader_that_goes_away(good_run, tmp_path):
    read, write = os.pipe()
    os.close(read)
    result = command(tmp_path / "output", capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert result.returncode == 141 and not result.stderr


@pytest.mark.parametrize("closing, code", [(">&-", 0), ("> /dev/full", 2)])
def test_no_place_to_print_to(good_run, tmp_path, closing, code):
    line = f"{sys.executable} {SCRIPT} {tmp_path / 'output'} {closing}"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert result.returncode == code and "Traceback" not in result.stderr and "Exception" not in result.stderr
    assert ("error: " in result.stderr) == (code == 2)


@pytest.mark.parametrize("flag, name", [("--html", "page.html"), ("--plot", "chart.png")])
def test_a_target_that_cannot_be_written(good_run, tmp_path, flag, name):
    (tmp_path / name).mkdir()
    result = command(tmp_path / "output", flag, tmp_path / name)
    assert result.returncode == 2 and "error: " in result.stderr and "Traceback" not in result.stderr
    assert "83.00" in result.stdout  # the tables come first
