"""configs/papers/ship/*.yaml against the paper's own arithmetic. What does not add up is listed here, noted there."""

from statistics import fmean, harmonic_mean

import pytest

HALF = 0.005  # the figures have two decimals


@pytest.fixture(scope="module")
def tables():
    from lib.report.paper import paper_table

    return {number: paper_table(number, "ship") for number in range(1, 7)}


def cells_whose_h_is_off(table, half):
    """{(method, column): H of the two printed figures}, where the printed one is farther from it than rounding each by
    `half` explains."""
    off = {}
    for row in table["rows"]:
        for column, values in row["values"].items():
            a, b = (values[name] for name in table["metrics"][:2])
            rounding = half * 2 * (a * a + b * b) / (a + b) ** 2 + half + 1e-9
            if abs(harmonic_mean([a, b]) - values["H"]) > rounding:
                off[row["method"], column] = round(harmonic_mean([a, b]), 2)
    return off


def test_tables_1_to_3_add_up(tables):
    assert [len(table["rows"]) for table in tables.values()] == [9, 3, 15, 5, 4, 4]
    assert len(tables[1]["datasets"]) == 11 and len(tables[2]["datasets"]) == 10
    for number in (1, 2):
        for row in tables[number]["rows"]:
            places = {**row["values"]}
            average = places.pop("average")
            for metric in {*average} - {"H"}:
                mean = fmean(values[metric] for values in places.values())
                assert average[metric] == pytest.approx(mean, abs=2 * HALF), (row["method"], metric)
    assert cells_whose_h_is_off(tables[1], HALF) == {("CLIP-Adapter", "caltech101"): 95.07}  # averages: H of the means
    theirs, ours = (row["values"] for row in tables[2]["rows"][1:])
    for column, delta in tables[2]["delta"].items():
        assert ours[column]["accuracy"] - theirs[column]["accuracy"] == pytest.approx(delta, abs=1e-6)
    off = {("Cycle-WGAN", "awa2"): 61.44, ("DUET", "awa2"): 62.83, ("TF-VAEGAN", "cub"): 33.76}
    assert cells_whose_h_is_off(tables[3], 0.05) == off
