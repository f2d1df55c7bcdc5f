"""scripts/report.py: a real sweep cell by cell, rules on small numbers, layouts, forms, the paper."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.core.files import UserError

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "report.py"
FIXTURE = Path(__file__).parent / "fixtures" / "sweep"
WORDS = ("dataset", "shots", "trainer", "method", "config", "seeds", "seed")
ALL = "base new H all all_base all_new all_H crossed_base crossed_new".split()


def h(a, b):
    return 2 * a * b / (a + b)


def tables(text):
    """The tables of a CSV report: [[{column: text}]]."""
    parts = [[line for line in part.splitlines() if line[:2] != "# "] for part in text.strip().split("\n\n")]
    return [list(csv.DictReader(lines)) for lines in parts]


def last(text, start, count=3):
    """The last words of the lines that begin so."""
    return [line.split()[-count:] for line in text.splitlines() if line.startswith(start)]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """The results.json of 80 small runs, laid out in their folders."""
    root = tmp_path_factory.mktemp("sweep")
    for line in (FIXTURE / "runs.jsonl").read_text().splitlines():
        run = json.loads(line)
        path = root / run["folder"] / "results.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(run["record"]))
    return root


@pytest.mark.parametrize(
    "name, folder, arguments",
    [
        ("list", "main", ()),
        ("interval", "main", ("--ci95", "--mean-of-h")),
        ("paper", "main", ("--table", "1", "--metrics", *ALL)),
        ("paired", "main", ("--paired", "--seconds")),
        ("ablation", "", ("--table", "4", "--metrics", *ALL)),
        ("fewshot", "fewshot", ()),
        ("targets", "cross_dataset", ()),
    ],
)
def test_every_cell_of_the_first_version(sweep, report, name, folder, arguments):
    before = tables((FIXTURE / f"{name}.csv").read_text())
    after = tables(report(*arguments, "--format", "csv", folders=[sweep / folder]).out)
    compared = 0
    for old, new in zip(before, after, strict=False):
        words = [word for word in WORDS if word in old[0] and word in new[0]]
        found = {tuple(row[word] for word in words): row for row in new}
        for row in old:
            values = {name: float(value) for name, value in row.items() if name not in (*WORDS, "options") and value}
            ours = found[tuple(row[word] for word in words)] if values else {}
            assert {name: float(ours[name]) for name in values} == values
            compared += len(values)
    assert compared > 5


# ---- numbers


def test_mean_deviation_average_and_the_two_rules_of_h(write_run, cells, report):
    runs = [(80, 50), (82, 54), (87, 58)]  # of three seeds: means 83 and 54
    for seed, (base, new) in enumerate(runs, 1):
        write_run({"base": base, "new": new, "H": 1.0}, seed=seed)
        write_run({"base": base - 20, "new": new - 20}, seed=seed, dataset="eurosat")
    row, average = cells()["caltech101", "CoOp"], cells()["average", "CoOp"]
    assert (row["seeds"], row["base"], row["base ±"]) == ("3", "83.0000", "2.9439")  # sqrt((9 + 1 + 16) / 3)
    assert row["H"] == f"{h(83, 54):.4f}" == "65.4307"
    assert (average["base"], average["new"], average["H"]) == ("73.0000", "44.0000", f"{h(73, 44):.4f}")
    each = [(h(base, new), h(base - 20, new - 20)) for base, new in runs]
    of_h = cells("--mean-of-h")
    assert of_h["caltech101", "CoOp"]["H"] == f"{sum(one for one, _ in each) / 3:.4f}"
    assert of_h["average", "CoOp"]["H"] == f"{sum(map(sum, each)) / 6:.4f}"
    assert cells("--ci95")["caltech101", "CoOp"]["base ±"] == f"{1.96 * 2.94392 / 3**0.5:.4f}"
    assert last(report("--seconds").out, "caltech101", 4)[-1] == ["1.00", "32.00", "800.00", "33.00"]
    for dataset, seed in (("caltech101", 1), ("eurosat", 2)):  # not all seeds on all data sets
        write_run({"base": 70.0, "new": 60.0}, "KgCoOp", seed, dataset=dataset)
        assert cells()["average", "KgCoOp"]["base"] == ""
        assert "KgCoOp: no average: not every seed has run on every data set" in report().out


def test_what_has_no_number_or_was_measured_otherwise_says_why(write_run, report, cells):
    reason = "its cache has no keys of classes without images"
    write_run({"base": 85.0}, trainer="Tip_Adapter_F", unsupported=dict.fromkeys(("new", "H", "all"), reason))
    write_run({"base": 80.0, "new": 50.0, "all": 60.0}, subset={"all": {"images": 500, "of": 2465}})
    write_run({"base": 90.0, "all": 62.0}, seed=2, test_images_trained_on=4)
    write_run({}, trainer="KgCoOp")
    write_run({"base": 80.0}, trainer="CoOp_SAR")
    out = report().out
    assert ["85.00", "-", "-", "-"] in last(out, "caltech101", 4) and f"Tip-Adapter-F: H, all, new: {reason}" in out
    assert "CoOp: all: on a fixed subset, 500 of 2,465 test images" in out
    assert "CoOp: 4 of the test images are among those that it was trained on" in out
    assert "KgCoOp: accuracy: there are no test images" in out and "SAR: reconstruction" in out
    row = cells()["caltech101", "CoOp"]
    of_the_seed_that_has_both = f"{h(80, 50):.4f}"
    assert [row[name] for name in ("seeds", "base", "H")] == ["1-2", "85.0000", of_the_seed_that_has_both]


def test_paired_differences_of_each_plug_in(write_run, report):
    for seed in (1, 2, 3):
        write_run({"base": 80.0 + seed, "new": 50.0}, "CoOp", seed)
    for new, trainer in enumerate(("CoOp_SAR", "CoOp_SHIP", "CoOp_SHIP_SAR"), 51):
        write_run({"base": 80.0, "new": new}, trainer, 1), write_run({"base": 80.0, "new": new}, trainer, 2)
    write_run({"base": 82.0, "new": 49.0}, trainer="MyCoOp", method="CoOp", plugins=["SMOOTH"])  # the file says it
    table = tables(report("--paired", "--format", "csv").out)[1]
    means = {row["trainer"]: float(row["new"]) for row in table if row["seed"] == "mean"}
    of_both = {"CoOp_SHIP_SAR - CoOp_SAR": 2.0, "CoOp_SHIP_SAR - CoOp_SHIP": 1.0, "CoOp_SHIP_SAR - CoOp": 3.0}
    assert means == {"CoOp_SHIP - CoOp": 2.0, "CoOp_SAR - CoOp": 1.0, "MyCoOp - CoOp": -1.0, **of_both}
    ship = [row for row in table if row["trainer"] == "CoOp_SHIP - CoOp"]
    assert [(row["seed"], row["base"]) for row in ship] == [("1", "-1.0000"), ("2", "-2.0000"), ("mean", "-1.5000")]
    assert ship[2]["H"] == f"{(h(80, 52) - h(81, 50) + h(80, 52) - h(82, 50)) / 2:.4f}"


# ---- layouts


@pytest.fixture
def eleven(write_run):
    from lib.report.paper import paper_table

    for i, dataset in enumerate(list(paper_table(1)["columns"])[1:]):
        for j, trainer in enumerate(("CoOp_SHIP", "CoOp", "ZeroshotCLIP", "KgCoOp")):
            for seed in (1, 2):
                write_run({"base": 70.0 + i + j + seed, "new": 60.0 - j, "all": 50}, trainer, seed, dataset=dataset)


def test_the_papers_layout_in_blocks_that_fit_a_terminal(eleven, report, monkeypatch):
    for columns, blocks in (("80", 12), ("120", 6), ("1000", 1)):
        monkeypatch.setenv("COLUMNS", columns)
        ours, printed = report("--table", "1").out.split("As printed")
        table = [line for line in ours.splitlines() if "±" in line and "percent" not in line or "---" in line]
        assert max(map(len, table)) <= int(columns) and len(last(ours, "Zero-shot")) == blocks
    for text in (ours, printed):  # three columns for each data set, the average last
        heads = re.split("  +", text.splitlines()[2].strip())
        assert heads[:2] == ["ImageNet", "Caltech101"] and heads[-1] == "Average" and len(heads) == 12
    assert ours.splitlines()[3].split() == ["method", "seeds", *["base", "new", "H"] * 12]
    for form, bold in (("text", "{}*"), ("markdown", "**{}**"), ("html", "<b>{}</b>"), ("latex", "\\textbf{{{}}}")):
        out = report("--table", "1", "--metrics", "base", "new", "--format", form).out.replace(r"$\pm$", "±")
        assert bold.format("74.50 ± 0.50") in out  # the best value, base on ImageNet: KgCoOp's
        assert bold.format("60.00 ± 0.00") in out and bold.format("59.00 ± 0.00") not in out


def test_latex_compiles_and_fits_a_page(eleven, write_run, report, tmp_path):
    write_run({"base": 85.0}, "Tip_Adapter_F", config="my_cfg#1", unsupported={"new": "100% & {no}"})
    text = "".join(report("--format", "latex", *more).out for more in (("--table", "1"), ("--paired", "--seconds")))
    assert text.count(r"\multicolumn{3}{c}{Caltech101}") == 2
    assert r"my\_cfg\#1" in text and r"100\% \& \{no\}" in text
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex to compile the tables with")
    start = "\\documentclass{article}\\usepackage{booktabs}\\usepackage[margin=2cm]{geometry}\\begin{document}\n"
    (tmp_path / "page.tex").write_text(start + text + "\n\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and "Overfull" not in result.stdout, result.stdout[-2000:]


def test_a_table_for_each_source_with_zero_shot_in_each_and_for_other_tasks(write_run, report):
    for dataset, gain in (("caltech101", 1.0), ("eurosat", 3.0)):
        write_run({"accuracy": 50.0}, "ZeroshotCLIP", task="cross_dataset", dataset=dataset)
        for trainer, value in (("CoOp", 60.0), ("CoOp_SHIP", 60.0 + gain)):
            write_run({"accuracy": value}, trainer, task="cross_dataset", dataset=dataset, source="imagenet")
    write_run({"accuracy": 70.0}, task="cross_dataset", dataset="eurosat", source="dtd", config="from_dtd")
    write_run({"top5": 91.0}, task="my_task")
    second, first = report().out.split("Cross-dataset")[1:]
    assert "trained on DTD" in second and last(second, "Zero-shot", 2) == [["1", "50.00"]] and "top5" in first
    assert "trained on ImageNet" in first and last(first, "CoOp + SHIP") == [["61.00*", "63.00*", "62.00*"]]
    for seed in (1, 2):
        write_run({"unseen": 40 + 10 * seed, "seen": 100 - 10 * seed}, "CoOp", seed, "gzsl", dataset="flo", shots=0)
    gzsl = report("--table", "3").out
    assert "Generalized zero-shot learning, all shots, MiniCLIP" in gzsl
    assert last(gzsl, "CoOp", 9)[0] == "55.00 ± 5.00 85.00 ± 5.00 66.79 ± 2.14".split()


def test_the_papers_figures_stand_beside_its_backbone_and_shots_alone(write_run, report):
    write_run({"base": 80.0, "new": 50.0})
    write_run({"base": 90.0, "new": 80.0}, backbone="ViT-B/16", shots=4)
    for dataset in ("caltech101", "eurosat"):
        write_run({"base": 90.0, "new": 80.0}, backbone="ViT-B/16", config="vit_b16_ctxv1", dataset=dataset)
    small, *others, _ = tables(report("--table", "1", "--format", "csv").out)
    assert sorted(map(len, [small, *others])) == [1, 1, 3]
    _, theirs, change = max(others, key=len)
    assert (theirs["method"], theirs["seeds"], theirs["Caltech101 new"]) == ("  in the paper", "", "89.8100")
    assert (change["method"], change["Caltech101 new"]) == ("  difference", "-9.8100")
    assert theirs["Average base"] == ""  # it is of eleven data sets


def test_an_ablation(write_run, report):
    gan, mlp = "-TRAINER.SHIP.FRAMEWORK=gan", "-TRAINER.SHIP.GENERATOR=mlp"
    for dataset, shift in (("caltech101", 0.0), ("eurosat", 10.0)):
        for suffix, new in (("", 70.0), (gan + mlp, 55.0), (mlp, 65.0)):
            write_run({"base": 80.0, "new": new - shift}, "CoOp_SHIP", dataset=dataset, config=f"miniclip{suffix}")
        write_run({"base": 83.0, "new": 60.0}, dataset=dataset)
    write_run({"base": 83.0, "new": 60.0}, dataset="dtd")  # no variant has it
    result = report("--table", "4", "--format", "csv")
    table = {row["method"]: row for row in tables(result.out)[0]}
    assert list(table) == ["G + S", "V + S", "V + T", "CoOp"] and table["V + T"]["Average new"] == "65.0000"
    assert "DTD new" not in table["CoOp"] and "73.69" in result.out and "not comparable with other" in result.err
    with pytest.raises(UserError, match=r"Table 6 .*runs of the task base2new with the options of its rows"):
        report("--table", "6")


def test_figures_of_other_flags_or_not_verified_stand_on_their_own(write_run, report):
    for trainer in ("PVA", "GaussianLDA"):
        write_run({"base": 80.0, "new": 50.0}, trainer, dataset="imagenet", backbone="ViT-B/16")
    ours, own = report("--table", "1", "--paper", "pva").out.split("As printed in PVA")
    assert "77.5" not in ours and "77.50" in own and "third party's summary" in own
    own = report("--table", "1", "--paper", "gda").out.split("As printed")[1]
    assert "PromptKD (transductive, ViT-L teacher)" in own and "*" not in own  # rows of other flags: none is best


def test_needs_no_torch_and_says_what_to_run(write_run, report, tmp_path):
    write_run({"base": 83.0})
    start = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); sys.modules['torch'] = None"
    code = f"{start}; import report; report.main()"
    words = {"capture_output": True, "text": True, "timeout": 60}
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path / "output")], **words)
    assert result.returncode == 0 and "83.00" in result.stdout, result.stderr
    with pytest.raises(UserError, match="no run has the metric 'bse'; metrics are accuracy, base"):
        report("--metrics", "bse")
    (tmp_path / "begun").mkdir()
    for folder in ("nowhere", "begun"):
        with pytest.raises(UserError, match="there is no results.json below[^$]*bash scripts/quickstart.sh"):
            report(folders=[tmp_path / folder])
