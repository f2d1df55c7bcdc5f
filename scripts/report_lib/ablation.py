"""The paper's Tables 4 to 6: variants of CoOp + SHIP, each dataset and their average.

Variants are options of one configuration, and name its folder: scripts/ablation.sh runs them, and the rows of
configs/paper/table4.yaml to table6.yaml say which options are which row."""

from collections.abc import Sequence

from .by_metric import COLUMN_GROUPS_A_BLOCK, h_notes, shots_title
from .groups import Group, average
from .methods import backbone_title
from .paper import PaperRow, PaperTable, dataset_rank, dataset_title, is_papers_backbone, paper_table
from .stats import Cell, Stat
from .table import Column, Table

AVERAGE = "average"


def ablation_tables(task, groups: Sequence[Group], stat: Stat, number: int, wide: bool = False) -> list[Table]:
    """Tables for each <cfg> and number of shots that has at least one of the table's variants."""
    paper = paper_table(number)
    variants = [row for row in paper.rows if row.options]
    found = {(group.config, group.shots) for group in groups if group.trainer == variants[0].trainer}
    bases = {
        (config.removesuffix(row.suffix), shots)
        for config, shots in found
        for row in variants
        if config.endswith(row.suffix)
    }
    # with two options set, a configuration also ends in the second alone: what is left is a variant then, not a base
    bases = {(base, shots) for base, shots in bases if not any(base.endswith(row.suffix) for row in variants)}
    return [table for base, shots in sorted(bases) for table in _tables(task, groups, stat, paper, base, shots, wide)]


def _tables(task, groups, stat: Stat, paper: PaperTable, base: str, shots: int, wide: bool) -> list[Table]:
    members = {row.method: _groups_of(row, groups, base, shots) for row in paper.rows}
    shown = [group for found in members.values() for group in found.values()]
    datasets = {dataset for row in paper.rows if row.options for dataset in members[row.method]}
    datasets = sorted(datasets, key=dataset_rank)
    keys = [AVERAGE] * (len(datasets) > 1) + datasets
    size = len(keys) if wide else COLUMN_GROUPS_A_BLOCK
    name = f"{paper.title} (the paper's Table {paper.number}), {base}, {shots_title(shots)} shots, "
    name += backbone_title(shown)
    tables = []
    for start in range(0, len(keys), size):
        rows = [
            line
            for row in paper.rows
            for line in _lines(task, stat, paper, row, members[row.method], keys[start : start + size], datasets, base)
        ]
        columns = [Column(title, number=False) for title in ("variant", "options", "seeds")]
        columns += [Column(m, group=dataset_title(key)) for key in keys[start : start + size] for m in paper.metrics]
        tables.append(Table(f"{name} (continued)" if start else name, columns, rows))
    tables[0].title += f": mean ± {stat.spread_name} over seeds, percent"
    tables[-1].notes += h_notes(task, stat)
    return tables


def _lines(task, stat, paper: PaperTable, row: PaperRow, found: dict[str, Group], keys, datasets, base: str) -> list:
    """A row of ours, and below it the paper's average where backbone, shots and datasets are the paper's."""
    chosen = [found[dataset] for dataset in datasets if dataset in found]
    seeds = "-".join(map(str, sorted({len(group.runs) for group in chosen}))) or "0"
    line: list = [row.method, " ".join(f"{key}={value}" for key, value in row.options.items()), seeds]
    for key in keys:
        missing = [dataset for dataset in (datasets if key == AVERAGE else [key]) if dataset not in found]
        for metric in paper.metrics:
            if not chosen or (missing and key != AVERAGE):
                line.append(Cell(note=f"not run: {row.trainer}/{base}{row.suffix}"))
            elif missing:
                line.append(Cell(note=f"no average: not run on {', '.join(missing)}"))
            elif key == AVERAGE:
                line.append(average(chosen, metric, stat, task.h_of))
            else:
                line.append(found[key].cell(metric, stat, task.h_of))
    comparable = chosen and AVERAGE in keys and set(datasets) == set(paper_table(1).columns) - {AVERAGE}
    if (
        comparable
        and is_papers_backbone({name for g in chosen for name in g.backbones})
        and chosen[0].shots == paper.shots
    ):
        values = [
            Cell(row.values[AVERAGE][metric]) if key == AVERAGE else None for key in keys for metric in paper.metrics
        ]
        return [line, ["  in the paper", "", "", *values]]
    return [line]


def _groups_of(row: PaperRow, groups: Sequence[Group], base: str, shots: int) -> dict[str, Group]:
    config = base + row.suffix
    return {g.dataset: g for g in groups if (g.trainer, g.config, g.shots) == (row.trainer, config, shots)}
