"""`pip install .` gives ship_trainers, which trains in a CoOp checkout; results.json says which version it was."""

import json
import shutil
import subprocess
import sys

import pytest
from helpers.coop_checkout import ROOT, make_checkout, run

from trainers import __version__
from trainers.core.version import commit


def pip(*words):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def installed(tmp_path):
    """A folder that holds the installed wheel and nothing else. The sources are copied: a build leaves files there."""
    source, wheels, folder = (tmp_path / name for name in ("source", "wheels", "installed"))
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "trainers", source / "trainers", ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, source)
    pip("install", "--no-index", "--no-deps", "--target", folder, *wheels.glob("*.whl"))
    return folder


@pytest.mark.slow
def test_the_installed_package_trains_a_twin_in_a_coop_checkout(installed, tmp_path):
    ours = {path.relative_to(ROOT / "trainers") for path in (ROOT / "trainers").rglob("*") if path.is_file()}
    theirs = {path.relative_to(installed / "ship_trainers") for path in (installed / "ship_trainers").rglob("*.*")}
    assert {path for path in ours if "__pycache__" not in path.parts} <= theirs  # a folder missing in pyproject.toml?
    assert (installed / f"ship_trainers-{__version__}.dist-info").is_dir()

    checkout, out = make_checkout(tmp_path, "ship_trainers"), tmp_path / "out"
    options = "TASK base2new TRAINER.COOP.PREC fp32".split()
    done = run(checkout, "--trainer", "CoOp_SHIP", "--output-dir", str(out), *options, path=[installed])
    assert done.returncode == 0, done.stderr
    assert "CoOp is registered already, by trainers.coop" in done.stdout
    found = json.loads((out / "results.json").read_text())
    assert {"base", "new", "H", "all"} <= set(found["metrics"])
    assert (found["versions"]["ship"], found["versions"]["commit"]) == (__version__, "")


def test_the_commit_of_a_checkout(tmp_path):
    """Of a clean one its name, of one with other files the same and a mark; nothing anywhere else, never an error."""
    folder = tmp_path / "trainers"
    folder.mkdir()
    (folder / "file.py").write_text("1\n")
    assert commit(folder) == ""

    def git(*words):
        who = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
        command = ["git", *who, *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    name = git("rev-parse", "HEAD")
    assert commit(folder) == name
    (tmp_path / "new.py").write_text("2\n")
    assert commit(folder) == f"{name}-dirty"
    (tmp_path / "new.py").unlink()
    (folder / "file.py").write_text("3\n")
    assert commit(folder) == f"{name}-dirty"
    assert commit(folder / "deeper") == ""  # a copy inside another project is not that project's commit
    (tmp_path / ".git/HEAD").write_text("broken")
    assert commit(folder) == ""


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert commit(tmp_path / "trainers") == ""
