"""scripts/quickstart.py with a stand-in for train.py: what it runs, what it skips, what it shows at the end."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def runs(monkeypatch, write_run):
    """The command lines that train.main got; it writes results as the real one does."""
    calls = []

    def main(argv):
        calls.append(argv)
        sys.stdout = open("/dev/null", "w")  # as a logger that takes stdout over and does not give it back
        path = write_run({"base": 80.0, "new": 50.0, "H": 61.5, "all": 60.0}, **asked(argv))
        target = Path(argv[argv.index("--output-dir") + 1])
        target.mkdir(parents=True)
        path.rename(target / "results.json")

    fake = ModuleType("train")
    fake.main = main
    monkeypatch.setitem(sys.modules, "train", fake)
    return calls


def asked(argv):
    value = dict(zip(argv[::2], argv[1::2], strict=True))
    return {
        "trainer": value["--trainer"],
        "seed": int(value["--seed"]),
        "dataset": Path(value["--dataset-config-file"]).stem,
        "config": Path(value["--config-file"]).stem,
        "task": value["TASK"],
        "shots": int(value["DATASET.NUM_SHOTS"]),
    }


@pytest.fixture
def quickstart():
    from quickstart import main

    return main


def test_runs_three_trainers_and_prints_the_table_and_the_chart(runs, quickstart, tmp_path, capsys):
    quickstart(["--output", str(tmp_path / "out")])
    assert [asked(argv)["trainer"] for argv in runs] == ["ZeroshotCLIP", "CoOp", "CoOp_SHIP"]
    assert all("SUBSAMPLE_CLASSES base" in " ".join(argv) and "--root" not in argv for argv in runs)
    folder = tmp_path / "out/base2new/caltech101/shots_16/CoOp/miniclip/seed1"
    assert runs[1][runs[1].index("--output-dir") + 1] == str(folder)
    out = capsys.readouterr().out
    assert "[2/3] CoOp on caltech101, seed 1: base 80.0  new 50.0  H 61.5  all 60.0" in out
    assert "Base-to-new generalization, MiniCLIP" in out and "seconds a stage" in out
    chart = tmp_path / "out" / "base2new.png"
    assert f"chart: {chart}" in out and chart.stat().st_size > 10_000


def test_finished_runs_are_skipped_and_only_the_asked_ones_reported(runs, quickstart, tmp_path, capsys):
    out = str(tmp_path / "out")
    quickstart(["--output", out, "--seeds", "1", "2"])
    assert len(runs) == 6
    quickstart(["--output", out, "--seeds", "1", "--datasets", "caltech101", "eurosat"])
    assert [asked(argv)["dataset"] for argv in runs[6:]] == ["eurosat"] * 3
    text = capsys.readouterr().out
    assert text.count("done already") == 3
    assert "paired differences" in text.split("All 6 runs")[1]  # two seeds
    assert "paired differences" not in text.split("All 6 runs")[2]


def test_a_damaged_result_says_what_to_do(runs, quickstart, tmp_path):
    from report_lib import ReportError

    quickstart(["--output", str(tmp_path / "out")])
    bad = tmp_path / "out/base2new/caltech101/shots_16/CoOp/miniclip/seed1/results.json"
    bad.write_text("{")
    with pytest.raises(ReportError, match="delete it"):
        quickstart(["--output", str(tmp_path / "out")])


def test_the_command_line_is_that_of_base2new_sh(runs, quickstart, checkout, tmp_path):
    checkout.run("setup.sh")
    checkout.run("base2new.sh", "caltech101", "1", "CoOp", OUTPUT=str(tmp_path / "sh"))
    (call,) = checkout.calls("train.py")
    quickstart(["--output", str(tmp_path / "py")])
    ours = [word.replace(f"{ROOT}/", "").replace("/py/", "/sh/") for word in runs[1]]
    assert sorted(call.split()[1:]) == sorted(ours)


def test_an_unknown_dataset_is_an_error_without_traceback(tmp_path):
    pytest.importorskip("torch")
    if not (ROOT / "train.py").exists():
        pytest.skip("train.py is not there")
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts/quickstart.py"), "--datasets", "nowhere", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 2, result.stderr
    assert "error: " in result.stderr and "nowhere" in result.stderr and "Traceback" not in result.stderr
