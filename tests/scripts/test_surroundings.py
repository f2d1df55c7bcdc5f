"""What a script meets on other people's machines: each is a sentence and an exit code, and nothing is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MINE = """
task: fewshot
datasets: [eurosat]
seeds: [1, 2]
variants: [{trainer: CoOp}]
"""
SCRIPTS = {
    "sweep": f"{sys.executable} scripts/sweep.py mine.yaml --set shots=1",
    "protocol": "bash scripts/fewshot.sh eurosat 1 CoOp",
}


@pytest.fixture(params=SCRIPTS)
def shell(ready, request):
    """shell(line, **environment) -> the completed process of a line in bash, where $RUN is a script of two runs."""
    (ready.root / "mine.yaml").write_text(MINE)

    def run(line, **env):
        environment = {**ready.environment(), "RUN": SCRIPTS[request.param], "SHOTS": "1 2", **env}
        return subprocess.run(
            ["bash", "-c", line],
            cwd=ready.root,
            env={key: value for key, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def done(ready, output="output"):
    return len(list((ready.root / output).rglob("results.json")))


@pytest.mark.parametrize(
    "line, env",
    [
        ("$RUN", {"HOME": None}),
        ("$RUN", {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}),
        ("$RUN", {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
        ("$RUN >&-", {}),
        ("$RUN 2>&-", {}),
        ("$RUN <&- >&- 2>&-", {}),
        ("$RUN --jobs 2", {"TERM": "dumb", "COLUMNS": "0"}),
    ],
)
def test_all_is_well(shell, ready, line, env):
    result = shell(line, **env)
    assert result.returncode == 0 and done(ready) == 2, result.stderr
    assert "Traceback" not in result.stderr and "Exception" not in result.stderr


def test_a_character_that_cannot_be_shown_is_written_otherwise(shell):
    assert "80 \\xb1 1 \\u2192 81" in shell("$RUN", LC_ALL="C", PYTHONIOENCODING="ascii").stdout


@pytest.mark.parametrize("line", ["$RUN", "$RUN --dry-run", "$RUN --help", "$RUN --status"])
def test_a_reader_that_leaves_is_no_accident(shell, line):
    result = shell(f"{line} | true; exit ${{PIPESTATUS[0]}}", FAKE_SECONDS="0.3")
    assert result.returncode in (0, 141) and "Traceback" not in result.stderr and "Exception" not in result.stderr
    assert shell("$RUN").returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_an_output_that_is_full_is_said(shell):
    result = shell("$RUN > /dev/full")
    assert result.returncode == 2 and result.stderr == (
        "error: output: No space left on device; make room, then give the same command again: it goes on from here\n"
    )
    assert shell("$RUN").returncode == 0


@pytest.mark.parametrize(
    "output, reason",
    [
        ("mine.yaml", "Not a directory; OUTPUT=DIR names another folder for the results"),
        ("/proc/results", "No such file or directory"),
        ("x" * 300, "File name too long; OUTPUT=DIR names another folder for the results"),
        ("/".join(20 * ["y" * 250]), "File name too long; OUTPUT=DIR names another folder for the results"),
    ],
)
def test_a_folder_that_cannot_be_made_is_said(shell, ready, output, reason):
    result = shell("$RUN", OUTPUT=output)
    assert result.returncode == 2 and reason in result.stderr and "Traceback" not in result.stderr
    assert ready.calls("train.py") == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_said(shell, ready):
    (ready.root / "output").mkdir(mode=0o500)
    assert "Permission denied; OUTPUT=DIR" in shell("$RUN").stderr


def test_a_limit_on_files_fails_the_runs_and_they_go_on_without_it(shell, ready):
    (ready.root / "train.py").write_text("print('x' * 9999)\n" + (ready.root / "train.py").read_text())
    # Without bytecode: Python up to 3.11 would leave files of it that are cut short.
    limited = shell("ulimit -f 4; $RUN", PYTHONDONTWRITEBYTECODE="1")
    assert limited.returncode != 0 and "2 failed" in limited.stdout and done(ready) == 0
    assert shell("$RUN").returncode == 0 and done(ready) == 2


@pytest.fixture
def small_disk(ready):
    """<checkout>/output on a disk of 32 kB."""
    place = ready.root / "output"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", str(place)], capture_output=True)
    if made.returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)])


def test_a_full_disk_fails_the_runs_and_they_go_on_when_there_is_room(shell, ready, small_disk):
    filler = small_disk / "filler"
    with pytest.raises(OSError):
        filler.write_bytes(bytes(1 << 20))
    full = shell("$RUN")
    assert full.returncode != 0 and "2 failed" in full.stdout and done(ready) == 0
    filler.unlink()
    assert shell("$RUN").returncode == 0 and done(ready) == 2


def test_results_of_another_run_are_stale_and_made_anew_by_force(shell, ready):
    assert shell("$RUN").returncode == 0 and len(ready.calls("train.py")) == 2
    first = sorted(Path(ready.root / "output").rglob("results.json"))[0]
    first.write_text(first.read_text().replace('"task"', '"command": [], "task"', 1))
    stale = shell("$RUN")
    assert stale.returncode == 2 and "1 done, 1 stale" in stale.stdout and ready.calls("train.py") == []
    assert "edited" in stale.stderr and "--force makes it anew" in stale.stderr
    assert "stale    CoOp/miniclip" in shell("$RUN --status").stdout and "# stale: " in shell("$RUN --dry-run").stdout
    assert shell("FORCE=1 $RUN").returncode == 0
    assert all(call.startswith("train.py --force ") for call in ready.calls("train.py"))
    assert shell("$RUN").returncode == 0 and ready.calls("train.py") == []
