"""--format latex: a booktabs table, escaped, that LaTeX takes where it is installed."""

import re
import shutil
import subprocess

import pytest


@pytest.fixture
def runs(write_run):
    for dataset in ("caltech101", "eurosat"):
        for trainer in ("CoOp", "CoOp_SAR", "Tip_Adapter_F"):
            for seed in (1, 2):
                metrics = {"base": 80.0 + seed, "new": 50.0} if trainer != "Tip_Adapter_F" else {"base": 85.0}
                write_run(
                    metrics, trainer, seed, dataset=dataset, config="my_cfg#1", unsupported={"new": "100% & {no}"}
                )


def columns_of(line):
    """How many columns a row spans."""
    spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
    return line.replace(r"\&", "").count("&") + 1 + sum(spans) - len(spans)


@pytest.mark.parametrize("arguments", [(), ("--layout", "paper"), ("--papers-own", "--paired")])
def test_rows_have_the_columns_that_were_declared(runs, report, arguments):
    for table in report("--format", "latex", *arguments).out.split(r"\begin{table}")[1:]:
        count = len(re.search(r"\\begin\{tabular\}\{([lr]+)\}", table).group(1))
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert rows and {columns_of(line) for line in rows} == {count}
        for rule in (r"\toprule", r"\bottomrule", r"\end{tabular}", r"\end{table}"):
            assert table.count(rule) == 1


def test_groups_numbers_and_special_characters(runs, report):
    out = report("--format", "latex", "--layout", "paper").out
    assert r"\multicolumn{3}{c}{Caltech101}" in out and r"\cmidrule(lr){5-7}" in out
    assert r"81.50 $\pm$ 0.50" in out and "±" not in out
    assert r"100\% \& \{no\}" in out
    assert r"my\_cfg\#1" in report("--format", "latex").out
    assert "SAR: reconstruction" in out


def test_latex_takes_it(runs, report, tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    tables = report("--format", "latex", "--layout", "paper", "--papers-own", "--paired", "--seconds").out
    text = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + tables + "\n\\end{document}\n"
    (tmp_path / "page.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout[-2000:]
