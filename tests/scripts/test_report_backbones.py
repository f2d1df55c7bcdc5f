"""Two backbones in one report: each row names its own, and the paper's figures stand beside the paper's alone."""

import csv
import re

import pytest
from lib.report.paper import paper_table

MINI, VIT = "MiniCLIP", "ViT-B/16"
EACH = ((MINI, "miniclip"), (VIT, "vit_b16"))
PAPERS = {f"{value:.2f}" for row in paper_table(1).rows for values in row.values.values() for value in values.values()}


@pytest.fixture
def both(write_run):
    for backbone, config in EACH:
        for dataset in ("caltech101", "eurosat"):
            for trainer in ("ZeroshotCLIP", "CoOp", "CoOp_SHIP"):
                for seed in (1, 2):
                    metrics = {"base": 12.34 + seed, "new": 23.45, "all": 5.0}
                    write_run(metrics, trainer, seed, dataset=dataset, config=config, backbone=backbone)


def rows(text):
    """Each row of a CSV report, as {column: text}, table by table."""
    for block in text.strip().split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("# ")]
        yield from csv.DictReader(lines)


@pytest.mark.parametrize("arguments", [(), ("--layout", "paper"), ("--paired",), ("--seconds",), ("--mean-of-h",)])
def test_every_row_names_its_backbone(both, report, arguments):
    found = list(rows(report("--format", "csv", *arguments).out))
    assert {row["backbone"] for row in found} == {MINI, VIT}


@pytest.mark.parametrize("arguments", [(), ("--layout", "paper"), ("--table", "1")])
def test_the_papers_figures_stand_in_rows_of_its_backbone_alone(both, report, arguments):
    text = report("--format", "markdown", *arguments).out.split("**As printed")[0]
    lines = [line for line in text.splitlines() if PAPERS & set(re.findall(r"\d+\.\d\d", line))]
    assert any("89.81" in line for line in lines)
    assert lines and all(VIT in line and MINI not in line for line in lines)


def test_rows_of_one_backbone_stand_together(both, report):
    found = [row["backbone"] for row in rows(report("--layout", "paper", "--format", "csv").out)]
    assert found == sorted(found)
    lines = report("--layout", "paper").out.splitlines()
    rule = lines.index(next(line for line in lines if VIT in line and "percent" not in line)) - 1
    assert set(lines[rule]) == {"-"} and MINI in lines[rule - 1]


@pytest.mark.parametrize("task, arguments", [("fewshot", ()), ("cross_dataset", ("--table", "2"))])
def test_tables_of_accuracy(write_run, report, task, arguments):
    for backbone, config in EACH:
        for trainer in ("CoOp", "CoOp_SHIP"):
            write_run({"accuracy": 50.0}, trainer, task=task, config=config, backbone=backbone, source="imagenet")
    text = report("--format", "csv", *arguments).out.split("# As printed")[0]
    found = list(rows(text))
    assert {row["backbone"] for row in found} == {MINI, VIT}
    printed = [row for row in found if "in the paper" in str(row.get("method"))]
    assert all(row["backbone"] == VIT for row in printed) and len(printed) == (2 if arguments else 0)


def test_the_ablations(write_run, report):
    for backbone, config in ((MINI, "one"), (VIT, "one-TRAINER.SHIP.N_CTX=2")):
        write_run({"base": 1.0, "new": 2.0}, "CoOp_SHIP", config=config, backbone=backbone)
    found = list(rows(report("--table", "6", "--format", "csv").out.split("# As printed")[0]))
    assert [(row["variant"], row["backbone"]) for row in found if row["backbone"]] == [
        ("CoOp + SHIP (L=2)", VIT),
        ("CoOp + SHIP (L=4)", MINI),
    ]


def test_one_backbone_is_named_in_the_title_alone(write_run, report):
    write_run({"base": 80.0, "new": 50.0})
    assert "backbone" not in report().out and "MiniCLIP" in report().out.splitlines()[0]


def test_no_chart_shows_two(both, report, tmp_path):
    out = report("--plot", tmp_path / "chart.png").out
    assert "chart-base2new-MiniCLIP.png" in out and "chart-base2new-ViT-B_16.png" in out and out.count("chart: ") == 2
