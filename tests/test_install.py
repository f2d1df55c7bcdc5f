"""`pip install .` gives ship_trainers: the Python API anywhere, and trainers for a CoOp checkout; results.json says
which version it was."""

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


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds the installed wheel and nothing else. The sources are copied: a build leaves files there."""
    top = tmp_path_factory.mktemp("package")
    source, wheels, folder = (top / name for name in ("source", "wheels", "installed"))
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in ("trainers", "configs", "third_party"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, source)
    pip("install", "--no-index", "--no-deps", "--target", folder, *wheels.glob("*.whl"))
    return folder


def test_the_package_is_whole_and_has_one_name(installed):
    for name, place in (("trainers", ""), ("configs", "configs"), ("third_party", "third_party")):
        ours = {path.relative_to(ROOT / name) for path in (ROOT / name).rglob("*") if path.is_file()}
        ours = {path for path in ours if "__pycache__" not in path.parts}
        assert not [path for path in ours if not (installed / "ship_trainers" / place / path).is_file()]
    assert {path.name for path in installed.iterdir()} == {"ship_trainers", f"ship_trainers-{__version__}.dist-info"}


@pytest.mark.slow
def test_the_installed_package_trains_a_twin_in_a_coop_checkout(installed, tmp_path):
    checkout, out = make_checkout(tmp_path, "ship_trainers"), tmp_path / "out"
    options = "TASK base2new TRAINER.COOP.PREC fp32".split()
    done = run(checkout, "--trainer", "CoOp_SHIP", "--output-dir", str(out), *options, path=[installed])
    assert done.returncode == 0, done.stderr
    assert "CoOp is registered already, by trainers.coop" in done.stdout
    found = json.loads((out / "results.json").read_text())
    assert {"base", "new", "H", "all"} <= set(found["metrics"])
    assert (found["versions"]["ship"], found["versions"]["commit"]) == (__version__, "")


THREE_LINES = """
import sys


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("clip", "pkg_resources"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hidden())
sys.path.append(sys.argv[1])
import ship_trainers as ship
import numpy as np

assert "torch" not in sys.modules
images = list(np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), dtype=np.uint8))
model = ship.fit(images, ["ant", "ant", "crab", "crab"], new_names=["lobster"])
model = model.add_classes(["otter"])
print(model.predict(images))
model.save("kept")
assert np.array_equal(ship.load("kept").probabilities(images), model.probabilities(images))
import dassl
print(dassl.__file__)
"""


def test_the_installed_package_fits_and_predicts_in_an_empty_folder_without_clip(installed, tmp_path):
    command = [sys.executable, "-c", THREE_LINES, installed]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PATH": "", "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "image 3" in done.stdout and "ship_trainers/third_party/dassl" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_copy_of_trainers_alone_says_that_fit_needs_the_package(tmp_path):
    shutil.copytree(ROOT / "trainers", tmp_path / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import copied; copied.fit([], [])"
    path = {"PYTHONPATH": f"{ROOT / 'third_party'}", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=path, capture_output=True, text=True)
    assert done.returncode == 1 and "fit needs the whole package" in done.stderr


def test_the_commit_of_a_checkout(tmp_path):
    """Of a clean one its name, of one with other files the same and a mark; nothing elsewhere."""
    folder = tmp_path / "trainers"
    folder.mkdir()
    (folder / "file.py").write_text("1\n")
    assert commit(folder) == ""

    who = "-c user.name=n -c user.email=n@example.org -c commit.gpgsign=false".split()
    for words in (["init"], ["add", "."], [*who, "commit", "-m", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    name = commit(folder)
    assert len(name) == 40
    (folder / "file.py").write_text("3\n")
    assert commit(folder) == f"{name}-dirty"
    assert commit(folder / "deeper") == ""  # a copy inside another project is not that project's commit
