"""In an environment of CoOp's and Dassl's own requirements, importing the trainers says what to install."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HIDE = """
import sys


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "safetensors":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hidden())
sys.path[:0] = sys.argv[1:]
"""


@pytest.mark.parametrize("wanted", ["trainers", "trainers.core.features", "trainers.coop"])
def test_a_missing_package_is_named_in_one_line(wanted):
    paths = [str(ROOT), str(ROOT / "third_party")]
    done = subprocess.run(
        [sys.executable, "-c", f"{HIDE}\nimport {wanted}", *paths], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: trainers needs safetensors (No module named 'safetensors'), which the requirements of CoOp and "
        "Dassl do not bring: pip install safetensors"
    )
    assert done.stderr.count("Traceback (most recent call last)") == 1
