"""Layouts of the tasks with one metric, accuracy: a column for each number of shots, or for each target dataset."""

from collections.abc import Sequence

from .by_metric import shots_title
from .groups import Group
from .methods import Method, backbone_title, methods, twin_of
from .paper import dataset_rank, dataset_title, paper_table
from .stats import Cell, Stat, mean
from .table import Column, Table

METRIC = "accuracy"


def shots_tables(task, groups: Sequence[Group], stat: Stat, wide: bool = False) -> list[Table]:
    """Few-shot: rows by dataset and method, columns by shots, then the average over datasets."""
    shots = sorted({group.shots for group in groups})
    datasets = sorted({group.dataset for group in groups}, key=dataset_rank)
    columns = [Column(name, number=False) for name in ("dataset", "method", "config", "seeds")]
    columns += [Column(shots_title(k), group="shots") for k in shots]
    rows: list = []
    for dataset in datasets:
        rows += [None] * bool(rows)
        for method in methods([group for group in groups if group.dataset == dataset]):
            cells = [_cell(method, dataset, k, stat) for k in shots]
            rows.append([dataset, method.title, method.config or "(several)", method.seeds, *cells])
    if len(datasets) > 1:
        rows.append(None)
        for method in methods(groups):
            cells = [method.average(datasets, k, METRIC, stat) for k in shots]
            rows.append(["average", method.title, method.config or "(several)", method.seeds, *cells])
    title = f"{task.title}, {backbone_title(groups)}: accuracy, mean ± {stat.spread_name} over seeds, percent"
    return [Table(title, columns, rows)]


def target_tables(task, groups: Sequence[Group], stat: Stat, wide: bool = False) -> list[Table]:
    """Transfer from one source: columns by target dataset, then their average; a difference row for each SHIP twin.

    Methods that learn nothing (zero-shot) have no source: they stand in the table of each.
    """
    tables = []
    sources = sorted({(group.source, group.shots) for group in groups if group.source})
    for source, shots in sources or sorted({("", group.shots) for group in groups}):
        members = [group for group in groups if (group.source, group.shots) == (source, shots)]
        targets = {group.dataset for group in members}
        if source:
            members += [g for g in groups if (g.source, g.shots) == ("", shots) and g.dataset in targets]
        tables.append(_target_table(task, members, source, shots, stat))
    return tables


def _target_table(task, groups: Sequence[Group], source: str, shots: int, stat: Stat) -> Table:
    datasets = sorted({group.dataset for group in groups}, key=dataset_rank)
    keys = datasets + ["average"] * (len(datasets) > 1)
    columns = [Column("method", number=False), Column("seeds", number=False)]
    columns += [Column(dataset_title(key)) for key in keys]
    rows: list = []
    found = methods(groups)
    for method in found:
        rows.append([method.title, method.seeds, *(_target_cell(method, k, datasets, shots, stat) for k in keys)])
        rows += _paper_row(task, method, source, shots, keys, datasets)
        plain = twin_of(method, found)
        if plain:
            cells = [_difference(method, plain, key, datasets, shots, stat) for key in keys]
            rows.append([f"Δ to {plain.title}", "", *cells])
    origin = f"trained on {dataset_title(source) if source else 'its source'}, {shots_title(shots)} shots"
    title = f"{task.title}, {origin}, {backbone_title(groups)}: accuracy, mean ± {stat.spread_name} over seeds, percent"
    return Table(title, columns, rows)


def _cell(method: Method, dataset: str, shots: int, stat: Stat) -> Cell | None:
    group = method.groups.get((dataset, shots))
    return group.cell(METRIC, stat) if group else None


def _target_cell(method: Method, key: str, datasets, shots: int, stat: Stat) -> Cell | None:
    return method.average(datasets, shots, METRIC, stat) if key == "average" else _cell(method, key, shots, stat)


def _difference(method: Method, plain: Method, key: str, datasets, shots: int, stat: Stat) -> Cell | None:
    ours, theirs = (_target_cell(m, key, datasets, shots, stat) for m in (method, plain))
    if ours is None or theirs is None or ours.mean is None or theirs.mean is None:
        return None
    return Cell(ours.mean - theirs.mean, signed=True)


def _paper_row(task, method: Method, source: str, shots: int, keys, datasets) -> list:
    if not task.paper or not method.has_papers_backbone:
        return []
    paper = paper_table(task.paper)
    if (source, shots) != (paper.source, paper.shots):
        return []
    values = {key: paper.value(method.trainer, key, METRIC) for key in datasets}
    if any(value is None for value in values.values()):
        return []
    complete = set(datasets) == set(paper.columns) - {"average"}
    values["average"] = paper.value(method.trainer, "average", METRIC) if complete else mean(list(values.values()))
    return [["  in the paper", "", *(Cell(values[key]) for key in keys)]]
