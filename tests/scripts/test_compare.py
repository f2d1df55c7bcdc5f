"""scripts/lib/compare.py: each cell beside the paper's, and never beside another backbone's."""

import json

import pytest
from lib.compare import Row, compare, paper_table
from lib.run import Place, Run, UserError

DATASETS = ["caltech101", "dtd"]
PAPER = {
    "table": 9,
    "title": "A table",
    "task": "base2new",
    "section": "TRAINER.SHIP",
    "backbone": "ViT-B/16",
    "metrics": ["base", "new", "H"],
    "columns": {"average": "Average", "caltech101": "Caltech101", "dtd": "DTD"},
    "rows": [
        {"method": "CoOp", "trainer": "CoOp", "values": {"average": [82.0, 62.0, 70.0], "dtd": [79.0, 41.0, 54.0]}},
        {"method": "short", "trainer": "CoOp_SHIP", "options": {"N_CTX": 1}, "values": {"dtd": [70.0, 50.0, 58.0]}},
        {"method": "others'", "values": {"dtd": [1.0, 2.0, 3.0]}},
    ],
}


@pytest.fixture
def place(tmp_path):
    return Place(output=str(tmp_path))


@pytest.fixture
def add(place):
    """add(trainer, dataset, seed, base, new) -> the row of a run; without figures it was not run."""

    def make(trainer, dataset, seed, base=None, new=None, options=(), backbone="ViT-B/16"):
        common = (("OPTIM.LR", "0.1"),)
        run = Run("base2new", dataset, trainer, "vit_b16", seed, 16, (*common, *options))
        if base is not None:
            path = run.results(place)
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({"metrics": {"base": base, "new": new}, "backbone": {"name": backbone}}))
        return Row(run, options)

    return make


def cells(text):
    """{(method, data set): the cells behind them}"""
    rows = [line.split("  ") for line in text.splitlines()]
    rows = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    return {(row[0], row[1]): row[2:] for row in rows if len(row) > 2}


def test_ours_the_papers_and_the_difference(add, place):
    rows = [add("CoOp", "dtd", seed, 70 + seed, 50) for seed in (1, 2, 3)]
    rows += [add("CoOp", "caltech101", seed, 98, 90) for seed in (1, 2, 3)]
    found = cells(compare(PAPER, rows, DATASETS, place))
    h = 2 * 72 * 50 / 122
    assert found["CoOp", "DTD"] == (f"72.00 79.00 -7.00 50.00 41.00 +9.00 {h:.2f} 54.00 {h - 54:+.2f} 3".split())
    h = 2 * 85 * 70 / 155  # of the means over data sets
    assert found["CoOp", "Average"] == f"85.00 82.00 +3.00 70.00 62.00 +8.00 {h:.2f} 70.00 {h - 70:+.2f} 3".split()
    assert "others'" not in str(found)


def test_options_tell_variants_apart(add, place):
    rows = [add("CoOp_SHIP", "dtd", 1, 60, 40), add("CoOp_SHIP", "dtd", 1, 71, 51, (("TRAINER.SHIP.N_CTX", "1"),))]
    assert (
        cells(compare(PAPER, rows, DATASETS, place))["short", "DTD"][:6]
        == "71.00 70.00 +1.00 51.00 50.00 +1.00".split()
    )


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "{",
        '{"metrics": {"base": 70}}',
        '{"metrics": {"base": "high"}, "backbone": {"name": "ViT-B/16"}}',
        '{"metrics": {"base": NaN}, "backbone": {"name": "ViT-B/16"}}',
        '{"metrics": {"base": 70}, "backbone": {"name": ["ViT-B/16"]}}',
        '{"a":' * 20_000,
    ],
)
def test_damaged_results_are_named(add, place, text):
    rows = [add("CoOp", "dtd", 1, 70, 50)]
    rows[0].run.results(place).write_text(text)
    with pytest.raises(UserError, match="results.json is damaged"):
        compare(PAPER, rows, DATASETS, place)


def test_what_is_missing_is_said(add, place):
    rows = [add("CoOp", "dtd", 1, 70, 50), add("CoOp", "dtd", 2), add("CoOp", "caltech101", 1)]
    found = cells(compare(PAPER, rows, DATASETS, place))
    assert found["CoOp", "DTD"][-1] == "1 of 2"
    assert found["CoOp", "Caltech101"][-1] == "not run"
    assert found["CoOp", "Average"][0] == "-" and found["CoOp", "Average"][-1] == "no mean: 1 data sets are missing"


def test_another_backbones_figures_stand_alone(add, place):
    found = cells(compare(PAPER, [add("CoOp", "dtd", 1, 70, 50, backbone="MiniCLIP")], DATASETS, place))
    assert (
        found["CoOp", "DTD"][:3] == ["70.00", "-", "-"]
        and "MiniCLIP, the paper has ViT-B/16" in found["CoOp", "DTD"][-1]
    )


def test_a_method_without_new_classes_has_a_base_figure_alone(add, place):
    found = cells(compare(PAPER, [add("CoOp", "dtd", 1, 70, None)], DATASETS, place))
    assert found["CoOp", "DTD"] == "70.00 79.00 -9.00 - 41.00 - - 54.00 - 1".split()


@pytest.mark.parametrize("number", range(1, 7))
def test_every_row_of_the_papers_tables_has_runs(number):
    from reproduce import parse_args, rows_of, tables_of

    args = parse_args(["DATA", "1"])
    rows = rows_of(tables_of(args), args.options)
    paper = paper_table("ship", number)
    variants = {(row.run.task, row.run.trainer, row.options) for row in rows}
    for row in paper["rows"]:
        options = tuple((f"TRAINER.SHIP.{key}", str(value)) for key, value in row.get("options", {}).items())
        assert "trainer" not in row or (paper["task"], row["trainer"], options) in variants
    wanted = {column for column in paper["columns"] if column != "average"}
    assert wanted <= {row.run.dataset for row in rows if row.run.task == paper["task"]}
