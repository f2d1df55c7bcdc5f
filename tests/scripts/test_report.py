"""scripts/report.py on results made by hand: exact numbers, what has no number and why, what does not compare."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def h(a, b):
    return 2 * a * b / (a + b)


@pytest.fixture
def three_seeds(write_run):
    """CoOp: base 80, 82, 87 (mean 83), new 50, 54, 58 (mean 54)."""
    for seed, base, new in ((1, 80, 50), (2, 82, 54), (3, 87, 58)):
        write_run({"base": base, "new": new, "H": h(base, new), "all": 60 + seed}, seed=seed)


def test_mean_and_population_deviation(three_seeds, cells):
    row = cells()["caltech101", "CoOp"]
    assert row["seeds"] == "3"
    assert (row["base"], row["base ±"]) == ("83.0000", "2.9439")  # sqrt((9 + 1 + 16) / 3)
    assert (row["new"], row["new ±"]) == ("54.0000", "3.2660")
    assert (row["all"], row["all ±"]) == ("62.0000", "0.8165")


def test_h_of_a_cell_is_h_of_the_seed_means(three_seeds, cells):
    assert cells()["caltech101", "CoOp"]["H"] == f"{h(83, 54):.4f}" == "65.4307"
    each = [h(80, 50), h(82, 54), h(87, 58)]
    row = cells("--mean-of-h")["caltech101", "CoOp"]
    assert row["H"] == f"{sum(each) / 3:.4f}" != "65.4307"


def test_ci95_as_in_parse_test_res(three_seeds, cells):
    assert cells("--ci95")["caltech101", "CoOp"]["base ±"] == f"{1.96 * 2.94392 / 3**0.5:.4f}"


def test_text_of_a_row(three_seeds, report):
    out = report().out
    assert "Base-to-new generalization, MiniCLIP: mean ± population deviation over seeds" in out
    (line,) = [line for line in out.splitlines() if line.startswith("caltech101")]
    assert re.split("  +", line)[-4:] == ["83.00 ± 2.94", "54.00 ± 3.27", "65.43 ± 3.30", "62.00 ± 0.82"]


def test_a_single_seed_has_no_deviation(write_run, report):
    write_run({"base": 80.0, "new": 50.0})
    out = report().out
    assert "80.00" in out and "80.00 ±" not in out


def test_average_row_is_over_datasets_and_its_h_is_of_the_means(write_run, cells):
    for dataset, base, new in (("caltech101", 80, 60), ("eurosat", 60, 20)):
        for seed in (1, 2):
            write_run({"base": base + seed, "new": new - seed, "all": 50}, dataset=dataset, seed=seed)
    row = cells()["average", "CoOp"]
    assert (row["base"], row["base ±"]) == ("71.5000", "0.5000")
    assert row["new"] == "38.5000"
    assert row["H"] == f"{h(71.5, 38.5):.4f}"
    caltech = (h(81, 59) + h(82, 58)) / 2
    eurosat = (h(61, 19) + h(62, 18)) / 2
    assert cells("--mean-of-h")["average", "CoOp"]["H"] == f"{(caltech + eurosat) / 2:.4f}"


def test_no_average_over_fewer_datasets_than_the_others_have(write_run, report):
    for dataset in ("caltech101", "eurosat"):
        write_run({"base": 80.0, "new": 50.0}, dataset=dataset)
    write_run({"base": 70.0, "new": 60.0}, trainer="KgCoOp")
    out = report().out
    (line,) = [line for line in out.splitlines() if line.startswith("average") and "KgCoOp" in line]
    assert "70.00" not in line and "- [" in line
    assert "no average: not run on eurosat" in out


def test_an_unsupported_metric_is_a_dash_with_its_reason(write_run, report):
    reason = "its cache has no keys of classes without images"
    write_run({"base": 85.0}, trainer="Tip_Adapter_F", unsupported=dict.fromkeys(("new", "H", "all"), reason))
    out = report().out
    (line,) = [line for line in out.splitlines() if line.startswith("caltech101")]
    assert line.count("- [1]") == 3 and "85.00" in line
    assert out.count(reason) == 1


def test_a_metric_that_some_seeds_lack(write_run, cells, report):
    write_run({"base": 80.0, "new": 50.0}, seed=1)
    write_run({"base": 90.0}, seed=2)
    row = cells()["caltech101", "CoOp"]
    assert (row["base"], row["new"]) == ("85.0000", "50.0000")
    assert row["H"] == f"{h(80, 50):.4f}"  # of the seed that has both
    assert "new of seed 1 only" in report().out


def test_a_metric_on_a_part_of_the_test_images_is_marked(write_run, report):
    write_run({"base": 80.0, "new": 50.0, "all": 60.0}, subset={"all": {"images": 500, "of": 2465}})
    out = report().out
    assert "60.00 [1]" in out and "[1] all: on a fixed subset, 500 of 2,465 test images" in out


def test_different_seeds_are_said(three_seeds, write_run, report):
    write_run({"base": 80.0, "new": 50.0}, trainer="CoOp_SHIP", seed=1)
    assert "rows have different seeds (1, 2, 3: CoOp/miniclip 16 shots; 1: CoOp_SHIP/miniclip 16 shots)" in report().err


@pytest.mark.parametrize("key, said", [("split_hash", "splits"), ("classnames_hash", "class names")])
def test_mixed_hashes_are_said(three_seeds, write_run, report, key, said):
    assert "warning" not in report().err
    write_run({"base": 80.0, "new": 50.0}, seed=3, **{key: "another"})
    warning = report().err
    assert f"different {said} should not be compared" in warning
    assert "another: CoOp/miniclip seed 3" in warning


def test_mixed_backbones_are_said_and_get_no_paper_numbers(write_run, report):
    write_run({"base": 80.0, "new": 50.0}, seed=1, backbone="ViT-B/16")
    write_run({"base": 80.0, "new": 50.0}, seed=2, backbone="MiniCLIP")
    result = report()
    assert "its seeds ran on different backbones" in result.err
    assert "paper" not in result.out


def test_paired_differences(three_seeds, write_run, report):
    for seed, base, new in ((1, 79, 53), (2, 81, 53), (4, 99, 99)):
        write_run({"base": base, "new": new, "all": 60}, trainer="CoOp_SHIP", seed=seed)
    out = report("--paired", "--format", "csv").out.split("# ")[2].splitlines()
    rows = {line.split(",")[4]: line.split(",")[5:] for line in out[2:]}
    assert sorted(rows) == ["1", "2", "mean"]  # of the seeds that both have
    assert rows["1"][:4] == ["-1.0000", "", "3.0000", ""]
    assert rows["mean"][:4] == ["-1.0000", "0.0000", "1.0000", "2.0000"]
    difference = h(79, 53) - h(80, 50), h(81, 53) - h(82, 54)
    assert rows["mean"][4] == f"{sum(difference) / 2:.4f}"


def test_seconds(three_seeds, report):
    out = report("--seconds").out
    line = [line for line in out.splitlines() if line.startswith("caltech101")][-1]
    assert line.split()[-4:] == ["1.0", "32.0", "33.0", "800.0"]


def test_stages_are_in_the_order_of_a_run(write_run, report):
    write_run({"base": 80.0}, seconds={"evaluate": 1.0, "calibrate": 2.0, "finetune": 3.0, "generator": 4.0})
    (heading,) = [line for line in report("--seconds").out.splitlines() if "total" in line]
    assert heading.split()[5:] == ["generator", "finetune", "evaluate", "calibrate", "total", "peak", "MB"]


def test_papers_numbers_only_beside_its_backbone_and_shots(write_run, report):
    write_run({"base": 80.0, "new": 50.0})
    assert "89.81" not in report().out
    assert "89.81" not in report("--layout", "paper").out
    write_run({"base": 90.0, "new": 80.0}, backbone="ViT-B/16", config="vit_b16_ctxv1")
    for layout in ("list", "paper"):
        (line,) = [line for line in report("--layout", layout).out.splitlines() if "89.81" in line]
        assert "98.00" in line and "93.73" in line and "50.00" not in line


def test_no_paper_numbers_at_other_shots(write_run, report):
    write_run({"base": 90.0, "new": 80.0}, backbone="ViT-B/16", shots=4)
    assert "paper" not in report().out


def test_papers_average_is_of_the_same_datasets(write_run, report):
    for dataset in ("caltech101", "eurosat"):
        write_run({"base": 90.0, "new": 80.0}, backbone="ViT-B/16", dataset=dataset)
    (line,) = [line for line in report().out.splitlines() if line.startswith("average")]
    base, new = (98.00 + 92.19) / 2, (89.81 + 54.74) / 2
    assert line.split()[-3:] == [f"{value:.2f}" for value in (base, new, h(base, new))]


def test_papers_own_table_stands_alone(write_run, report):
    write_run({"base": 80.0, "new": 50.0})
    ours, papers = report("--papers-own").out.split("As printed in SHIP")
    assert "89.81" not in ours and "89.81" in papers and "not comparable with other backbones" in papers


def test_other_configurations_on_one_dataset_average_together(write_run, cells):
    """CoOp trains ImageNet with vit_b16_ep50_ctxv1 and the rest with vit_b16_ctxv1."""
    write_run({"base": 70.0, "new": 60.0}, dataset="imagenet", config="vit_b16_ep50_ctxv1")
    write_run({"base": 80.0, "new": 70.0}, dataset="caltech101", config="vit_b16_ctxv1")
    row = cells()["average", "CoOp"]
    assert (row["base"], row["config"]) == ("75.0000", "(several)")


def test_variants_are_told_apart_by_their_folder(write_run, report):
    write_run({"base": 80.0, "new": 50.0})
    path = write_run({"base": 70.0, "new": 60.0}, config="miniclip-OPTIM.LR=0.1")
    path.write_text(path.read_text().replace("miniclip-OPTIM.LR=0.1", "miniclip"))  # the YAML file is the same
    out = report().out
    assert "80.00" in out and "70.00" in out and "miniclip-OPTIM.LR=0.1" in out


def test_the_newer_of_two_results_of_one_run_counts(write_run, report, tmp_path):
    import os
    import shutil

    path = write_run({"base": 80.0, "new": 50.0})
    copy = tmp_path / "output" / "copy" / "CoOp" / "miniclip" / "seed1" / "results.json"
    copy.parent.mkdir(parents=True)
    shutil.copy(path, copy)
    path.write_text(path.read_text().replace("80.0", "81.0"))
    os.utime(copy, (1, 1))
    result = report()
    assert "81.00" in result.out and "80.00" not in result.out
    assert f"two results of the same run: using {path}, not {copy}" in result.err


def test_needs_no_torch(three_seeds, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); sys.modules['torch'] = None; import report; report.main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "output")], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0 and "83.00" in result.stdout, result.stderr


def test_markdown(three_seeds, report):
    lines = report("--format", "markdown").out.splitlines()
    assert lines[2] == "| dataset | shots | trainer | config | seeds | base | new | H | all |"
    assert lines[3] == "|---|---|---|---|---|---:|---:|---:|---:|"
    assert lines[4].startswith("| caltech101 | 16 | CoOp | miniclip | 3 | 83.00 ± 2.94 | 54.00 ± 3.27 |")
