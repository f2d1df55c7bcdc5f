"""scripts/chaos.py in a short form: a few cases of each part, on tiny runs."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="chaos.py reads /proc")


def chaos(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "scripts/chaos.py", *map(str, arguments)], capture_output=True, text=True, timeout=900
    )


def test_nothing_is_lost(tmp_path):
    done = chaos("--count", 2, "--output", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[0]: [int(word) for word in line.split()[1:]] for line in done.stdout.splitlines()[-7:]}
    assert set(rows) == {"kills", "files", "corruption", "races", "environment", "identity", "hostile"}
    assert all(tried == 2 == survived + refused for tried, survived, refused, *_ in rows.values()), rows


def test_unknown_parts_are_refused():
    done = chaos("--parts", "kills,earthquakes")
    assert done.returncode == 2 and "earthquakes: there are kills, files" in done.stderr


def program(tmp_path, text, **how):
    """A process of the lab that is this little program."""
    from lib.chaos.lab import Process

    (tmp_path / "program.py").write_text(text)
    return Process(tmp_path, ["program.py"], tmp_path / "log", fresh={}, **how)


@pytest.mark.parametrize(
    "text, fault",
    [
        ("print('fine')", ""),
        ("import sys; print('error: no'); sys.exit(2)", ""),
        ("import sys; sys.exit(2)", "exit code 2 without a word"),
        ("1 / 0", "traceback: ZeroDivisionError"),
        ("import os; os.kill(os.getpid(), 9)", "ended by signal 9"),
        ("print('error: ' + 20_000 * 'x')", "a message of 20,007 characters"),
        ("import time; time.sleep(60)", "no end after"),
        (
            "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])",
            "1 processes left behind",
        ),
    ],
)
def test_faults_are_seen(tmp_path, monkeypatch, text, fault):
    from lib.chaos import lab

    monkeypatch.setattr(lab, "GRACE", 0.3)
    found = program(tmp_path, text).wait(limit=3).fault
    assert found.startswith(fault) and bool(found) == bool(fault), found


def test_other_results_are_seen(tmp_path):
    import torch
    from lib.chaos.lab import differing

    for name, value, metric in (("whole", 1.0, 50), ("same", 1.0, 50), ("tensor", 2.0, 50), ("metric", 1.0, 51)):
        (tmp_path / name / "head").mkdir(parents=True)
        torch.save({"state_dict": {"w": torch.tensor(value)}}, tmp_path / name / "head" / "model.pth.tar-1")
        (tmp_path / name / "results.json").write_text(f'{{"metrics": {{"base": {metric}}}}}')
    found = {name: differing(tmp_path / "whole", tmp_path / name) for name in ("same", "tensor", "metric")}
    assert found["same"] == "" and "other tensors" in found["tensor"] and "51" in found["metric"]
    (tmp_path / "same" / "results.json").unlink()
    assert differing(tmp_path / "whole", tmp_path / "same") == "results.json is missing"


def test_every_damage_changes_the_file():
    from lib.chaos.damage import spoilt

    good = bytes(range(1, 256)) * 4
    assert all(spoilt(good, random.Random(seed)) != good for seed in range(200))


def test_the_operation_at_which_something_happens(tmp_path, monkeypatch):
    import builtins
    import os

    from lib.chaos import interruptions

    for name in interruptions.OPERATIONS:
        monkeypatch.setattr(os, name, getattr(os, name))  # put back afterwards
    monkeypatch.setattr(builtins, "open", open)
    interruptions.at_operation(3, interruptions.full, tmp_path / "count")()
    open(tmp_path / "a", "w").close()
    open(tmp_path / "a").close()  # reading is no operation
    os.replace(tmp_path / "a", tmp_path / "b")
    with pytest.raises(OSError, match="full disk"):
        os.remove(tmp_path / "b")
    assert not (tmp_path / "b").exists() and (tmp_path / "count").read_text() == "3"
