"""Methods, plug-ins and papers are data of the report: composed twins, reconstructions, joint metrics, other papers."""

import pytest
import yaml
from lib.run import UserError


def lines_of(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


@pytest.mark.parametrize(
    "trainer, parts",
    [
        ("CoOp", ("CoOp", ())),
        ("Tip_Adapter_F_SHIP", ("Tip_Adapter_F", ("SHIP",))),
        ("CoOp_SHIP_SAR_GATE", ("CoOp", ("SHIP", "SAR", "GATE"))),
        ("CoOp_SHIPPED", ("CoOp_SHIPPED", ())),
    ],
)
def test_a_trainers_name_is_taken_apart(trainer, parts):
    from lib.report.runs import split_trainer

    assert split_trainer(trainer) == parts


def test_results_that_say_method_and_plugins_are_believed(write_run, report):
    """A plug-in that the report does not know works as SHIP does."""
    write_run({"base": 80.0, "new": 50.0}, trainer="CoOp")
    write_run({"base": 82.0, "new": 49.0}, trainer="MyCoOp", method="CoOp", plugins=["SMOOTH"], version="1.2")
    assert "CoOp + SMOOTH" in report("--layout", "paper").out
    (line,) = [line for line in report("--paired").out.splitlines() if "MyCoOp - CoOp" in line and " mean " in line]
    assert line.split()[-4:-1] == ["+2.00", "-1.00", "-0.19"]


def test_a_composed_twin_is_compared_with_each_part_and_with_the_method(write_run, report):
    for new, trainer in enumerate(("CoOp", "CoOp_SAR", "CoOp_SHIP", "CoOp_SHIP_SAR"), 50):
        write_run({"base": 80.0, "new": new}, trainer=trainer)
    out = report("--paired", "--format", "csv").out.split("paired differences")[1]
    means = {line.split(",")[2]: line.split(",")[7] for line in out.splitlines() if ",mean," in line}
    assert means == {
        "CoOp_SHIP - CoOp": "2.0000",
        "CoOp_SHIP_SAR - CoOp_SAR": "2.0000",
        "CoOp_SHIP_SAR - CoOp_SHIP": "1.0000",
        "CoOp_SHIP_SAR - CoOp": "3.0000",
        "CoOp_SAR - CoOp": "1.0000",
    }


def test_rows_are_ordered_by_plugins_then_method(write_run, report):
    for trainer in ("CoOp_SAR", "PVA", "CoOp_SHIP", "CoOp", "KgCoOp_SHIP_SAR"):
        write_run({"base": 80.0, "new": 50.0}, trainer=trainer)
    found = [
        line.split("|")[1].strip() for line in report("--layout", "paper", "--format", "markdown").out.splitlines()[4:9]
    ]
    assert found == ["CoOp", "PVA [1]", "CoOp + SHIP", "KgCoOp + SHIP + SAR [2]", "CoOp + SAR [2]"]


@pytest.mark.parametrize("trainer, name", [("PVA", "PVA"), ("CoOp_SAR", "SAR"), ("CoOp_SHIP_GATE", "GATE")])
@pytest.mark.parametrize("arguments", [(), ("--layout", "paper"), ("--seconds",), ("--paired",)])
def test_reconstructions_are_said_in_every_table(write_run, report, trainer, name, arguments):
    write_run({"base": 80.0, "new": 50.0}, trainer="CoOp")
    assert "reconstruction" not in report(*arguments).out
    write_run({"base": 80.0, "new": 50.0}, trainer=trainer)
    write_run({"accuracy": 80.0}, trainer=trainer, task="fewshot")
    write_run({"accuracy": 80.0}, trainer=trainer, task="cross_dataset")
    tables = report(*arguments).out.split("\n\n")
    assert len(tables) >= 3
    for table in tables:
        shown = trainer in table or " + ".join(trainer.split("_")) in table
        assert shown == (f"{name}: reconstruction" in table), table


def test_joint_metrics_are_columns_where_a_run_has_them(write_run, report, cells):
    write_run({"base": 80.0, "new": 50.0, "all": 60.0})
    assert "all_base" not in report().out and "all_base" not in report("--layout", "paper").out
    for seed, old, new in ((1, 70.0, 30.0), (2, 72.0, 40.0)):
        joint = {"all_base": old, "all_new": new, "all_H": 2 * old * new / (old + new)}
        joint |= {"crossed_base": 9.0, "crossed_new": 36.0}
        write_run({"base": 80.0, "new": 50.0, "all": 60.0, **joint}, trainer="CoOp_SHIP", seed=seed)
    row = cells()["caltech101", "CoOp_SHIP"]
    assert (row["all_base"], row["crossed_new"]) == ("71.0000", "36.0000")
    assert row["all_H"] == f"{2 * 71 * 35 / 106:.4f}"  # by the rule of H: of the means
    assert cells("--mean-of-h")["caltech101", "CoOp_SHIP"]["all_H"] == f"{(42 + 2 * 72 * 40 / 112) / 2:.4f}"
    assert cells()["caltech101", "CoOp"]["all_base"] == ""
    out = report("--layout", "paper").out
    assert "71.00 ± 1.00" in out and "all_H: their harmonic mean" in out and "no all_base" not in out


def test_a_joint_metric_that_is_impossible_says_why(write_run, report):
    write_run({"base": 80.0, "new": 50.0, "all": 60.0, "all_new": 40.0})
    reasons = dict.fromkeys(("new", "all", "all_new"), "no keys")
    write_run({"base": 80.0}, trainer="Tip_Adapter_F", unsupported=reasons)
    (line,) = lines_of(report().out, "caltech101  16     Tip_Adapter_F")
    assert line.count("- [1]") == 4 and "[1] no keys" in report().out


def test_gzsl_has_its_own_crossed_columns(write_run, report):
    write_run({"unseen": 50.0, "seen": 60.0, "crossed_unseen": 33.0, "crossed_seen": 4.0}, task="gzsl", dataset="cub")
    heading = next(line for line in report().out.splitlines() if line.startswith("dataset")).split()
    assert heading[-5:] == ["unseen", "seen", "H", "crossed_unseen", "crossed_seen"]


def test_leave_classes_out(write_run, cells, report):
    metrics = {"base": 80.0, "new": 60.0, "all": 55.0, "all_base": 70.0, "all_new": 40.0}
    write_run(metrics, task="leave_classes_out")
    row = cells()["caltech101", "CoOp"]
    assert row["H"] == f"{2 * 80 * 60 / 140:.4f}" and row["all_new"] == "40.0000"
    assert "Leave-classes-out" in report("--layout", "paper").out


def test_what_was_not_verified_is_shown_on_request_only_and_with_its_note(write_run, report):
    for dataset in ("caltech101", "imagenet"):
        write_run({"base": 80.0, "new": 50.0}, trainer="PVA", dataset=dataset, backbone="ViT-B/16")
    for arguments in ((), ("--layout", "paper"), ("--layout", "paper", "--paper", "pva")):
        assert "77.5" not in report(*arguments).out
    assert "As printed" not in report("--table", "1", "--paper", "pva").out
    own = report("--papers-own").out.split("As printed in PVA")[1]
    assert "77.50" in own and "third party's summary" in own


def test_an_ablation_that_was_not_verified_shows_our_runs_alone(write_run, report):
    arguments = ("--paper", "pva", "--table", "2")
    write_run({"base": 80.0, "new": 50.0}, trainer="PVA")
    with pytest.raises(UserError, match="bash scripts/ablation.sh pva caltech101 1"):
        report(*arguments)
    write_run({"base": 70.0, "new": 60.0}, trainer="PVA", config="miniclip-TRAINER.PVA.RESIDUAL=0")
    out = report(*arguments).out
    assert lines_of(out, "without residual") and "70.00" in out and "As printed" not in out and "76.80" not in out


def test_another_papers_tables(write_run, report, tmp_path, monkeypatch):
    from lib.report import paper

    table = yaml.safe_load((paper.FOLDER / "ship/table1.yaml").read_text())
    table |= {"columns": {"caltech101": "Caltech101"}, "notes": []}
    table["rows"] = [{"method": "CoOp", "trainer": "CoOp", "values": {"caltech101": [11.11, 22.22, 14.81]}}]
    names = yaml.safe_load((paper.FOLDER / "names.yaml").read_text())
    names["papers"] = {"ship": "SHIP", "other": "Another (2030)"}
    for name, data in (("other/table1.yaml", table), ("names.yaml", names)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(yaml.safe_dump(data, sort_keys=False))
    (tmp_path / "ship").symlink_to(paper.FOLDER / "ship")
    monkeypatch.setattr(paper, "FOLDER", tmp_path)
    caches = (paper.paper_table, paper.names, paper._dataset_titles)
    for cached in caches:
        cached.cache_clear()
    try:
        write_run({"base": 80.0, "new": 50.0}, backbone="ViT-B/16")
        assert "89.81" in report("--layout", "paper").out
        out = report("--layout", "paper", "--paper", "other").out
        assert "22.22" in out and "89.81" not in out
        assert "paper: Another (2030), Table 1, 16 shots" in report("--paper", "other").out
    finally:
        for cached in caches:
            cached.cache_clear()
