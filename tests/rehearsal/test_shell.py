"""The scripts of the paper's tables: each command line that `--dry-run` prints is run in this process, and the report
reads the runs; one script runs as it is."""

import os
import shlex
import subprocess
import sys

import pytest
from helpers.rehearsal import ROOT, SHOTS, rehearse, small

pytestmark = pytest.mark.rehearsal
METHODS = {  # {trainer: its row in the paper's Table 1}
    "ZeroshotCLIP": "Zero-shot",
    "CoOp": "CoOp",
    "CoCoOp": "CoCoOp",
    "ProDA": "ProDA",
    "KgCoOp": "KgCoOp",
    "CLIP_Adapter": "CLIP-Adapter",
    "CoOp_VPT": "CoOp + VPT",
    "Tip_Adapter_F": "Tip-Adapter-F",
    "CoOp_SHIP": "CoOp + SHIP",
    "CLIP_Adapter_SHIP": "CLIP-Adapter + SHIP",
    "Tip_Adapter_F_SHIP": "Tip-Adapter-F + SHIP",
}


@pytest.fixture
def shell(data, tmp_path, monkeypatch):
    """shell(words, KEY=VALUE ...) -> what a command prints, run at the repository's root on the miniatures."""
    monkeypatch.chdir(ROOT)  # the scripts name configuration files from there

    def run(*words, **variables):
        given = {"DATA": data, "OUTPUT": tmp_path / "output", "SHOTS": SHOTS, "SEEDS": 1, "PYTHON": sys.executable}
        env = {**os.environ, "OMP_NUM_THREADS": "1"} | {key: str(value) for key, value in (given | variables).items()}
        done = subprocess.run([*map(str, words)], env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def table(shell, features):
    """table(script, arguments ...) runs the script's command lines in their order. -> [(dataset, trainer)]"""

    def run(script, *words, **variables):
        lines = shell("bash", f"scripts/{script}.sh", *words, "--dry-run", **variables).splitlines()
        commands = [shlex.split(line)[2:] for line in lines if line.startswith("python train.py ")]
        assert commands, lines
        found = [rehearse([*argv, *small(features)]) for argv in commands]
        assert {result["backbone"]["name"] for result in found} == {"ViT-B/16"}, "a table mixes backbones"
        return [(result["dataset"], result["trainer"]) for result in found]

    return run


@pytest.fixture
def rows(shell, tmp_path):
    """rows(arguments ...) -> the start of each line of numbers in the report, which is a row's name."""

    def read(*words):
        lines = shell(sys.executable, "scripts/report.py", *words, tmp_path / "output").splitlines()
        return {line.partition("  ")[0] for line in lines if line.partition("  ")[2].strip()[:1].isdigit()}

    return read


def test_table_1(table, rows):
    assert table("table1", "dtd", CFG="vit_b16") == [("dtd", method) for method in METHODS]
    assert {*METHODS.values()} <= rows("--table", "1")


def test_cross_dataset_transfer_starts_with_the_source(table, rows):
    first, *others = table("cross_dataset", "imagenet", "1", "dtd", "eurosat", CFG="vit_b16")
    assert first == ("imagenet", "CoOp_SHIP")
    methods = ("ZeroshotCLIP", "CoOp", "CoOp_SHIP")
    assert {*others} == {(target, method) for target in ("dtd", "eurosat") for method in methods}
    assert {"CoOp", "CoOp + SHIP"} <= rows("--table", "2")


def test_generalized_zero_shot_learning(table):
    for trainer in ("CoOp_SHIP", "TF_VAEGAN"):
        assert table("gzsl", "cub", "1", trainer, "vit_b16") == [("cub", trainer)]


@pytest.mark.parametrize("number", ["4", "5", "6"])
def test_an_ablation(table, rows, number):
    assert table("ablation", number, "dtd", "1", "vit_b16") == [("dtd", "CoOp_SHIP")] * 4
    assert rows("--table", number)


def test_a_script_runs_as_it_is_and_skips_what_is_done(shell, archive, features, tmp_path):
    options = ["MODEL.BACKBONE.NAME", archive, "FEATURES.VIEWS", "1", "FEATURES.DIR", features]
    words = ["bash", "scripts/fewshot.sh", "dtd", "1", "ZeroshotCLIP", "vit_b16", "--", *options]
    for _ in range(2):
        shell(*words, SHOTS=1)
        (path,) = (tmp_path / "output").rglob("results.json")
    assert len([*path.parent.glob("log.txt*")]) == 1
