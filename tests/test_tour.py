"""docs/tour.ipynb runs from top to bottom, and lies here with outputs that anybody would get."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def notebook():
    return nbformat.read(ROOT / "docs/tour.ipynb", as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(notebook):
    return [output for output in outputs(notebook) if "image/jpeg" in output.get("data", {})]


def test_what_is_committed_shows_something_and_no_progress_bars(notebook):
    printed = "".join(output.get("text", "") for output in outputs(notebook))
    assert "Ensemble_GATE on MiniCLIP: 8 classes, 6 of them with images" in printed and len(pictures(notebook)) == 2
    assert {output.get("name") for output in outputs(notebook)} <= {"stdout", None}
    assert not any(word in printed for word in ("it/s", "%|", "\r", "/tmp", "/home"))


@pytest.mark.slow
def test_it_runs(notebook, tmp_path, monkeypatch):
    os.symlink(ROOT / "trainers", tmp_path / "ship_trainers")  # as pip install . gives it
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT / 'third_party'}")
    NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    printed = "".join(output.get("text", "") for output in outputs(notebook) if output.get("name") == "stdout")
    assert "largest change of a base class's logit: 0.0" in printed and "of 10 photos" in printed
    assert len(pictures(notebook)) == 2
