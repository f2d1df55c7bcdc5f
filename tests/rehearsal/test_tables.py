"""The command lines that the scripts of the paper's tables make, as `--dry-run` prints them, each run in miniature."""

import os
import shlex
import subprocess
import sys

import pytest
from helpers.miniatures import DOMAINS, GZSL, TABLE1
from helpers.rehearsal import ROOT, SHOTS, backbones, check_one_backbone, command, rehearse, small

pytestmark = pytest.mark.rehearsal
METHODS = {  # {trainer: its row in the paper's table}
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


def rows(printed):
    """The lines of numbers in the report's text, by what stands in front."""
    lines = [line.partition("  ") for line in printed.splitlines()]
    return {name: rest for name, _, rest in lines if rest.strip()[:1].isdigit()}


def shell(*words, **variables):
    """What a command prints, run at the repository's root."""
    env = {**os.environ, "PYTHON": sys.executable, **{key: str(value) for key, value in variables.items()}}
    done = subprocess.run([*map(str, words)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Table:
    """The runs of one script below `output`, and the report about them."""

    def __init__(self, data, output, features):
        self.data, self.output, self.features = data, output, features

    def run(self, *words, **variables):
        """Runs all command lines of a script, in its order. -> [(dataset, trainer, cfg)]"""
        where = {"DATA": self.data, "OUTPUT": self.output, "SHOTS": SHOTS, "SEEDS": 1}
        lines = shell(*words, "--dry-run", **{**where, **variables}).splitlines()
        commands = [shlex.split(line)[2:] for line in lines if line.startswith("python train.py ")]
        assert commands, lines
        found = [rehearse([*argv, *small(self.features)]) for argv in commands]
        return [(run["dataset"], run["trainer"], run["config"].split("-")[0]) for run in found]

    def report(self, *arguments):
        return shell(sys.executable, "scripts/report.py", *arguments)


@pytest.fixture
def table(data, tmp_path, features, monkeypatch):
    monkeypatch.chdir(ROOT)  # the scripts name configuration files from there
    return Table(data, tmp_path / "output", features)


class TestTable1:
    def test_base_to_new(self, table):
        """Every method on every data set; one backbone, and the report says so where there are two."""
        done = table.run("bash", "scripts/table1.sh", *TABLE1, CFG="vit_b16")
        assert {*done} == {(dataset, method, "vit_b16") for dataset in TABLE1 for method in METHODS}
        check_one_backbone(table.output, "ViT-B/16")
        assert rows(table.report(table.output / "base2new", "--table", "1")).keys() == {*METHODS.values()}

        out = table.output / "base2new/dtd/shots_2/ZeroshotCLIP/miniclip/seed1"
        rehearse(command(table.data, out, "ZeroshotCLIP/miniclip", "dtd", *small(table.features)))
        assert {name for name, _ in backbones(table.output)} == {"ViT-B/16", "MiniCLIP"}
        with pytest.raises(AssertionError, match="a table mixes backbones"):
            check_one_backbone(table.output, "ViT-B/16")
        printed = table.report(table.output / "base2new", "--table", "1")
        print(printed)
        assert all("MiniCLIP" in name or "ViT-B/16" in name for name in rows(printed)), printed


class TestOtherTables:
    def test_cross_dataset(self, table):
        done = table.run("bash", "scripts/cross_dataset.sh", "imagenet", "1", CFG="vit_b16")
        targets = [name for name in TABLE1 if name != "imagenet"]
        source = ("imagenet", "CoOp_SHIP", "vit_b16")
        methods = ("ZeroshotCLIP", "CoOp", "CoOp_SHIP")
        assert done[0] == source
        assert {*done} - {source} == {(target, method, "vit_b16") for target in targets for method in methods}
        check_one_backbone(table.output, "ViT-B/16")
        assert {"CoOp", "CoOp + SHIP"} <= rows(table.report("--table", "2", table.output / "cross_dataset")).keys()

    @pytest.mark.parametrize("trainer", METHODS)
    def test_domain_generalization(self, table, trainer):
        done = table.run("bash", "scripts/domain_generalization.sh", "1", trainer, "vit_b16")
        assert {dataset for dataset, _, _ in done} - {"imagenet"} == {*DOMAINS}

    def test_generalized_zero_shot(self, table):
        done = table.run(
            sys.executable, "scripts/sweep.py", "table3", "--set", "cfg=vit_b16", "--set", "seeds=1", SHOTS=-1
        )
        assert {dataset for dataset, _, _ in done} == {*GZSL}
        assert {"CoOp", "CoOp_SHIP", "f_VAEGAN", "TF_VAEGAN"} <= {trainer for _, trainer, _ in done}
        check_one_backbone(table.output, "ViT-B/16")
        assert {"CoOp", "CoOp + SHIP"} <= rows(table.report("--table", "3", table.output / "gzsl")).keys()

    @pytest.mark.parametrize("number", ["4", "5", "6"])
    def test_ablations(self, table, number):
        done = table.run("bash", "scripts/ablation.sh", number, "dtd", "1", "vit_b16")
        assert len(done) == 4 and {trainer for _, trainer, _ in done} == {"CoOp_SHIP"}
        assert table.report("--table", number, table.output / "base2new/dtd")

    def test_few_shot(self, table):
        assert len(table.run("bash", "scripts/fewshot.sh", "dtd", "1", "Tip_Adapter_F", "vit_b16", SHOTS="1 2")) == 2
