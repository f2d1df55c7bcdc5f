"""What importing the readers brings with it."""

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
CODE = """
import sys, datasets
print(*(name for name in sys.modules if name.startswith("datasets.prepare")))
from dassl.data.datasets import DATASET_REGISTRY
from datasets.core import Reader
from datasets.prepare.sources import SOURCES
readers = [DATASET_REGISTRY.get(name) for name in [*SOURCES, "ImageFolder"]]
assert all(issubclass(reader, Reader) for reader in readers)
assert not any(reader.template for reader in readers), "templates stand in trainers/core/model/prompts.py"
"""


def test_readers_import_nothing_that_downloads_or_unpacks():
    paths = [str(REPO), str(REPO / "third_party")]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}\n{CODE}"], capture_output=True, text=True
    )
    assert run.returncode == 0 and run.stdout.strip() == "", run.stdout + run.stderr


def test_every_module_beside_the_readers_base_is_a_reader():
    """One reader a data set: what they share lies in core/, what gets the data in prepare/."""
    files = [path for path in (REPO / "datasets").glob("*.py") if path.name != "__init__.py"]
    assert len(files) == 19 and all("@DATASET_REGISTRY.register()" in path.read_text() for path in files)
