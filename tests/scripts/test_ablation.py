"""scripts/ablation.sh, and the tables that report.py makes of its runs."""

import re

import pytest
from lib.report.paper import paper_table


def folders(calls):
    """The configuration's folder and the options below TRAINER.SHIP of each call of train.py."""
    found = []
    for call in calls:
        folder = re.search(r"--output-dir \S*/shots_16/CoOp_SHIP/(\S+)/seed1", call).group(1)
        found.append((folder, dict(re.findall(r"TRAINER\.SHIP\.(\S+) (\S+)", call.split(" TASK ")[1]))))
    return found


@pytest.mark.parametrize("table", [4, 5, 6])
def test_the_script_makes_the_rows_of_the_papers_table(ready, table):
    assert ready.run("ablation.sh", str(table), "eurosat", "1").returncode == 0
    calls = ready.calls("")
    rows = [row for row in paper_table(table).rows if row.trainer == "CoOp_SHIP"]
    expected = [("miniclip" + row.suffix, {key: str(value) for key, value in row.options.items()}) for row in rows]
    assert folders([call for call in calls if call.startswith("train.py")]) == expected
    assert all(" TASK base2new " in call for call in calls[:4])
    assert calls[4] == f"scripts/report.py --table {table} output/base2new/eurosat"


def test_the_method_as_it_is_is_not_run_again(ready):
    ready.run("base2new.sh", "eurosat", "1")
    for table in (4, 5, 6):
        result = ready.run("ablation.sh", str(table), "eurosat", "1")
        assert "done already: output/base2new/eurosat/shots_16/CoOp_SHIP/miniclip/seed1/results.json" in result.stdout
    assert len(ready.calls("train.py")) == 1 + 3 + 3 + 3


def test_options_apply_to_every_variant(ready):
    ready.run("ablation.sh", "6", "eurosat", "1", "miniclip", "--", "OPTIM.MAX_EPOCH", "3")
    calls = ready.calls("train.py")
    assert [name for name, _ in folders(calls)] == [
        f"miniclip-OPTIM.MAX_EPOCH=3{suffix}"
        for suffix in ("-TRAINER.SHIP.N_CTX=1", "-TRAINER.SHIP.N_CTX=2", "", "-TRAINER.SHIP.N_CTX=8")
    ]
    assert all("OPTIM.MAX_EPOCH 3" in call for call in calls)


def test_an_ablation_has_a_name_where_it_has_no_number(ready):
    (ready.root / "configs/sweeps/ablation_loss.yaml").write_text(
        "task: base2new\ndatasets: []\nvariants:\n- {trainer: CoOp, options: {OPTIM.LR: 0.10}}\n- trainer: CoOp\n"
    )
    broken = ready.run("ablation.sh", "loss", "eurosat", "2")
    assert broken.returncode == 2 and "needs the field 'datasets'" in broken.stderr
    path = ready.root / "configs/sweeps/ablation_loss.yaml"
    path.write_text(path.read_text().replace("[]", "[eurosat]"))
    assert ready.run("ablation.sh", "loss", "eurosat", "2").returncode == 0
    first, second = ready.calls("train.py")
    assert "/CoOp/miniclip-OPTIM.LR=0.10/seed2 " in first and first.endswith(" OPTIM.LR 0.10")
    assert "/CoOp/miniclip/seed2 " in second


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("7", "eurosat", "1"), "no ablation '7' in configs/sweeps/. There are: 4, 5, 6"),
        (("4", "euro", "1"), "no dataset 'euro'"),
        (("4", "eurosat", "one"), "SEED is a whole number"),
        (("4", "eurosat", "1", "huge"), "no configuration 'huge'"),
        (("4", "eurosat"), "usage: bash scripts/ablation.sh TABLE DATASET SEED"),
    ],
)
def test_wrong_arguments(ready, arguments, message):
    result = ready.run("ablation.sh", *arguments)
    assert result.returncode == 2 and message in result.stderr
    assert ready.calls("") == []


# ------------------------------------------------------------------------------------------------ the report

GAN, MLP = "-TRAINER.SHIP.FRAMEWORK=gan", "-TRAINER.SHIP.GENERATOR=mlp"


@pytest.fixture
def ablation(write_run):
    def write(**more):
        for dataset, shift in (("caltech101", 0.0), ("eurosat", 10.0)):
            for suffix, new in (("", 70.0), (GAN + MLP, 55.0), (MLP, 65.0)):
                for seed in (1, 2):
                    metrics = {"base": 80.0, "new": new - shift + 2 * (seed == 2)}
                    write_run(
                        metrics, dataset=dataset, trainer="CoOp_SHIP", seed=seed, config=f"miniclip{suffix}", **more
                    )
            write_run({"base": 83.0, "new": 60.0}, dataset=dataset, **more)

    return write


def rows(text):
    """{(variant, options): the numbers of its row} of a table in Markdown."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return {(cells[0], cells[1]): cells[2:] for cells in lines[2:]}


def test_rows_are_variants_of_one_configuration(ablation, report):
    ablation()
    ours, papers = report("--table", "4", "--format", "markdown").out.split("**As printed in SHIP")
    found = rows(ours)
    assert list(found) == [
        ("G + S", "FRAMEWORK=gan GENERATOR=mlp"),
        ("V + S", "GENERATOR=mlp"),
        ("G + T", "FRAMEWORK=gan"),
        ("V + T", ""),
        ("CoOp", ""),
    ]
    assert found["G + S", "FRAMEWORK=gan GENERATOR=mlp"][:3] == ["2", "80.00 ± 0.00", "51.00 ± 1.00"]  # average
    assert found["V + T", ""][5] == "71.00 ± 1.00" and found["V + T", ""][8] == "61.00 ± 1.00"  # caltech101, eurosat
    assert found["G + T", "FRAMEWORK=gan"] == ["0"] + ["- [1]"] * 9
    assert f"[1] not run: CoOp_SHIP/miniclip{GAN}" in ours
    assert found["CoOp", ""][0] == "1" and "73.69" not in ours
    assert "73.69" in papers and "not comparable with other backbones" in papers


def test_a_variant_that_lacks_a_dataset_has_no_average(ablation, write_run, report):
    ablation()
    write_run({"base": 80.0, "new": 50.0}, dataset="eurosat", trainer="CoOp_SHIP", config=f"miniclip{GAN}")
    out = report("--table", "4", "--format", "markdown").out
    cells = rows(out.split("**As printed")[0])["G + T", "FRAMEWORK=gan"]
    assert cells[0] == "1" and cells[2].startswith("- [") and cells[5].startswith("- [") and cells[8] == "50.00"
    assert "no average: not run on caltech101" in out


def test_the_papers_rows_stand_below_its_own_backbones(write_run, report):
    datasets = [key for key in paper_table(1).columns if key != "average"]
    for dataset in datasets:
        for suffix in ("", "-TRAINER.SHIP.N_CTX=2"):
            write_run(
                {"base": 80.0, "new": 70.0},
                dataset=dataset,
                trainer="CoOp_SHIP",
                config=f"vit{suffix}",
                backbone="ViT-B/16",
            )
    ours = report("--table", "6", "--wide").out.split("As printed")[0]
    below = [line.split() for line in ours.splitlines() if "in the paper" in line]
    assert ["in", "the", "paper", "80.61", "70.28", "74.56"] in below and len(below) == 2


def test_an_ablation_that_was_not_run_says_what_to_run(ablation, report):
    from lib.run import UserError

    ablation()
    with pytest.raises(UserError, match=r"N_CTX=1.*\n.*bash scripts/ablation.sh 6 caltech101 1"):
        report("--table", "6")
    with pytest.raises(UserError, match="Table 2.*cross_dataset"):
        report("--table", "2")


def test_other_tables_by_number(write_run, report):
    write_run({"base": 80.0, "new": 50.0})
    write_run({"accuracy": 70.0}, task="fewshot")
    out = report("--table", "1").out
    assert "Base-to-new" in out and "Few-shot" not in out and "As printed in SHIP (ICCV 2023), Table 1" in out
