"""The scripts import their neighbours (report_lib, _path) as `python scripts/x.py` does. Results are made by hand."""

import json
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
if str(SCRIPTS) not in sys.path:
    sys.path.insert(0, str(SCRIPTS))


@pytest.fixture
def write_run(tmp_path):
    """Writes a results.json in the layout of output/ below tmp_path and returns its path."""

    def write(
        metrics, trainer="CoOp", seed=1, task="base2new", dataset="caltech101", config="miniclip", shots=16, **more
    ):
        backbone = more.pop("backbone", "MiniCLIP")
        data = {
            "task": task,
            "dataset": dataset,
            "trainer": trainer,
            "config": config,
            "seed": seed,
            "shots": shots,
            "backbone": {"name": backbone, "sha256": "ab" * 32},
            "split_hash": f"split-{dataset}",
            "classnames_hash": f"names-{dataset}",
            "metrics": metrics,
            "unsupported": {},
            "selection": "last epoch",
            "seconds": {"features": 1.0, "finetune": 30.0 + seed},
            "peak_memory_mb": 800,
            "versions": {"python": "3.11"},
            "extra": {},
            **more,
        }
        folder = tmp_path / "output" / task / dataset / f"shots_{shots}" / trainer / config / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "results.json"
        path.write_text(json.dumps(data))
        return path

    return write


@pytest.fixture
def report(tmp_path, capsys):
    """Runs scripts/report.py in this process on tmp_path/output: report("--paired").out, .err."""
    from report import main

    def run(*arguments, folders=None):
        main([*map(str, folders or [tmp_path / "output"]), *map(str, arguments)])
        return capsys.readouterr()

    return run


@pytest.fixture
def cells(report):
    """The list layout as CSV, read back: {(dataset, trainer): {column: text}}."""
    import csv

    def run(*arguments):
        lines = report("--format", "csv", *arguments).out.strip().splitlines()
        return {(row["dataset"], row["trainer"]): row for row in csv.DictReader(lines)}

    return run


# A Python that stands in for the real one: it notes its arguments and does what a set-up or a run would leave behind.
FAKE_PYTHON = r"""#!/bin/sh
echo "$*" >> "{log}"
case "$1 $2" in
  "--version "*) echo "Python ${{FAKE_VERSION:-3.11.7}}" ;;
  "-c import sys; sys.exit(sys.version_info"*) [ -z "$FAKE_OLD" ] ;;
  "-c import venv"*) [ -z "$FAKE_NO_VENV" ] ;;
  "-m venv")
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && [ -z "$FAKE_VENV_FAILS" ] ;;
  "-m pip") [ -z "$FAKE_PIP_FAILS" ] ;;
  "-W ignore") [ -z "$FAKE_IMPORT_FAILS" ] ;;
  "train.py "*)
    while [ $# -gt 0 ]; do
      if [ "$1" = --output-dir ]; then mkdir -p "$2" && echo '{{}}' > "$2/results.json"; fi
      shift
    done ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A small copy of the repository: the shell scripts, two datasets, two trainers, and a fake python3."""
    return Checkout(tmp_path)


class Checkout:
    def __init__(self, tmp_path: Path):
        self.root = tmp_path / "a checkout"
        (self.root / "scripts").mkdir(parents=True)
        for script in SCRIPTS.glob("*.sh"):
            shutil.copy(script, self.root / "scripts")
        for name in (
            "datasets/caltech101.yaml",
            "datasets/eurosat.yaml",
            "trainers/CoOp/miniclip.yaml",
            "trainers/CoOp_SHIP/miniclip.yaml",
        ):
            path = self.root / "configs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (self.root / "requirements.txt").write_text("torch>=2.4\n")
        self.log = tmp_path / "python.log"
        self.bin = tmp_path / "bin"
        self.bin.mkdir()
        python = self.bin / "python3"
        python.write_text(FAKE_PYTHON.format(log=self.log))
        python.chmod(0o755)

    def run(self, script: str, *arguments: str, cwd: Path | None = None, **env: str):
        """Runs scripts/<script>; only the fake python3 is to be found. Returns the completed process."""
        import subprocess

        for name in ("python", "python3.10", "python3.11", "python3.12", "python3.13"):
            if not (self.bin / name).exists():
                shutil.copy(self.bin / "python3", self.bin / name)
        return subprocess.run(
            ["bash", str(self.root / "scripts" / script), *arguments],
            cwd=cwd or self.root,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.root), **env},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def calls(self, start: str) -> list[str]:
        """Calls of the fake Python since the last look that begin with `start`; forgets them."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return [line for line in lines if line.startswith(start)]


@pytest.fixture(scope="session")
def ship_run(tiny_bank, tmp_path_factory):
    """The output folder of a small, finished run of CoOp_SHIP on the tiny bank."""
    import train
    from runs import argv

    out = tmp_path_factory.mktemp("ship") / "base2new" / "caltech101" / "shots_4" / "CoOp_SHIP" / "miniclip" / "seed1"
    train.main(argv(tiny_bank, out, "CoOp_SHIP"))
    return out
