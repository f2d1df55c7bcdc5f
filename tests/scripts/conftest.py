"""The scripts import their neighbours (lib.report, _path) as `python scripts/x.py` does. Results are made by hand."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest
from helpers.checkout import Checkout

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
        method, *plugins = re.split("_(?=SHIP|SAR|GATE)", trainer)
        data = {"task": task, "dataset": dataset, "trainer": trainer, "method": method, "plugins": plugins}
        data |= {"config": config, "seed": seed, "shots": shots, "metrics": metrics, "unsupported": {}}
        data |= {"backbone": {"name": backbone, "sha256": "ab" * 32}, "peak_memory_mb": 800}
        data |= {"split_hash": f"split-{dataset}", "classnames_hash": f"names-{dataset}"}
        data |= {"seconds": {"features": 1.0, "finetune": 30.0 + seed}}
        path = tmp_path / f"output/{task}/{dataset}/shots_{shots}/{trainer}/{config}/seed{seed}/results.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data | more))
        return path

    return write


@pytest.fixture
def report(tmp_path, capsys, monkeypatch):
    """Runs scripts/report.py in this process on tmp_path/output: report("--paired").out, .err."""
    from report import main

    monkeypatch.setenv("COLUMNS", "160")  # whatever terminal the tests run in

    def run(*arguments, folders=None):
        main([*map(str, folders or [tmp_path / "output"]), *map(str, arguments)])
        return capsys.readouterr()

    return run


@pytest.fixture
def cells(report):
    """The list layout as CSV, read back: {(dataset, trainer): {column: text}}."""

    def run(*arguments):
        lines = report("--format", "csv", *arguments).out.strip().splitlines()
        return {(row["dataset"], row["trainer"]): row for row in csv.DictReader(lines)}

    return run


@pytest.fixture
def checkout(tmp_path):
    """A small copy of the repository with stand-ins for Python, train.py and report.py."""
    return Checkout(tmp_path)


@pytest.fixture
def ready(checkout):
    """A checkout that is set up."""
    checkout.run("setup.sh")
    checkout.calls("")
    return checkout


@pytest.fixture(scope="session")
def ship_run(tiny_bank, tmp_path_factory):
    """The output folder of a small, finished run of CoOp_SHIP on the tiny bank."""
    from runs import argv

    import train

    out = tmp_path_factory.mktemp("ship") / "base2new" / "caltech101" / "shots_4" / "CoOp_SHIP" / "miniclip" / "seed1"
    train.main(argv(tiny_bank, out, "CoOp_SHIP"))
    return out
