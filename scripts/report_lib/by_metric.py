"""Layouts with a column for each metric: the list (one line a run's group) and the paper's Tables 1 and 3."""

from collections.abc import Sequence

from .groups import Group
from .methods import Method, backbone_title, methods
from .paper import PaperTable, dataset_rank, dataset_title, is_papers_backbone, paper_table, trainer_rank
from .stats import Cell, Stat, harmonic, mean
from .table import Column, Table

COLUMN_GROUPS_A_BLOCK = 3  # of a wide table, so that a block fits a terminal


def list_tables(task, groups: Sequence[Group], stat: Stat) -> list[Table]:
    """Dataset by dataset, a row for each trainer and configuration, and the averages at the end."""
    groups = sorted(groups, key=lambda g: (dataset_rank(g.dataset), g.shots, trainer_rank(g.trainer), g.config))
    mixed = len({group.backbones for group in groups}) > 1
    paper = paper_table(task.paper) if task.paper and any(_is_comparable(task, g) for g in groups) else None
    text = ["dataset", "shots", "trainer", "config", *(["backbone"] if mixed else []), "seeds"]
    columns = [Column(name, number=False) for name in text] + [Column(name) for name in task.metrics]
    columns += [Column(f"paper {name}") for name in paper.metrics] if paper else []
    rows: list = []
    for previous, group in zip([None, *groups], groups, strict=False):
        if previous and previous.dataset != group.dataset:
            rows.append(None)
        row = [group.dataset, shots_title(group.shots), group.trainer, group.config]
        row += [backbone_title([group])] * mixed + [str(len(group.runs))]
        row += [group.cell(metric, stat, task.h_of) for metric in task.metrics]
        if paper:
            row += _paper_cells(paper, group.trainer, [group.dataset], _is_comparable(task, group), stat)
        rows.append(row)
    rows += _average_rows(task, groups, stat, mixed, paper)
    title = f"{task.title}, {backbone_title(groups)}: mean ± {stat.spread_name} over seeds, percent"
    notes = [f"paper: SHIP (ICCV 2023), Table {paper.number}, {paper.shots or 'all'} shots"] if paper else []
    return [Table(title, columns, rows, notes + h_notes(task, stat))]


def _average_rows(task, groups, stat: Stat, mixed: bool, paper: PaperTable | None) -> list:
    rows: list = []
    for shots in sorted({group.shots for group in groups}):
        members = [group for group in groups if group.shots == shots]
        datasets = list(dict.fromkeys(group.dataset for group in members))
        if len(datasets) < 2:
            continue
        rows.append(None)
        for method in methods(members):
            row = ["average", shots_title(shots), method.trainer, method.config or "(several)"]
            row += [" and ".join(sorted(method.backbones))] * mixed + [method.seeds]
            row += [method.average(datasets, shots, metric, stat, task.h_of) for metric in task.metrics]
            if paper:
                comparable = all(_is_comparable(task, group) for group in method.groups.values())
                row += _paper_cells(paper, method.trainer, datasets, comparable, stat)
            rows.append(row)
    return rows


def paper_tables(task, groups: Sequence[Group], stat: Stat, wide: bool = False) -> list[Table]:
    """Method rows, dataset column groups, the average first; below ours the paper's row where the backbone is its."""
    tables = []
    for shots in sorted({group.shots for group in groups}):
        members = [group for group in groups if group.shots == shots]
        datasets = sorted({group.dataset for group in members}, key=dataset_rank)
        blocks = (["average"] if len(datasets) > 1 else []) + datasets
        size = len(blocks) if wide else COLUMN_GROUPS_A_BLOCK
        name = f"{task.title}, {shots_title(shots)} shots, {backbone_title(members)}"
        for start in range(0, len(blocks), size):
            shown = blocks[start : start + size]
            tables.append(_paper_block(task, name, members, shots, datasets, shown, stat))
            tables[-1].title += f": mean ± {stat.spread_name} over seeds, percent" if start == 0 else " (continued)"
        tables[-1].notes += h_notes(task, stat)
    return tables


def _paper_block(task, name, members, shots: int, datasets, shown, stat: Stat) -> Table:
    paper = paper_table(task.paper) if task.paper else None
    metrics = paper.metrics if paper else task.metrics
    columns = [Column("method", number=False)]
    columns += [Column(metric, group=dataset_title(key)) for key in shown for metric in metrics]
    rows = []
    for method in methods(members):
        row: list = [method.title]
        for key in shown:
            for metric in metrics:
                row.append(_method_cell(task, method, key, shots, datasets, metric, stat))
        rows.append(row)
        if paper and all(_is_comparable(task, group) for group in method.groups.values()):
            places = [datasets if key == "average" else [key] for key in shown]
            cells = [_paper_cells(paper, method.trainer, place, True, stat) for place in places]
            if any(cell is not None for group in cells for cell in group):
                rows.append(["  in the paper", *(cell for group in cells for cell in group)])
    return Table(name, columns, rows)


def _method_cell(task, method: Method, key: str, shots: int, datasets, metric: str, stat: Stat) -> Cell | None:
    if key == "average":
        return method.average(datasets, shots, metric, stat, task.h_of)
    group = method.groups.get((key, shots))
    return group.cell(metric, stat, task.h_of) if group else None


def _is_comparable(task, group: Group) -> bool:
    if not task.paper or not is_papers_backbone(group.backbones):
        return False
    return paper_table(task.paper).shots in (None, group.shots)


def _paper_cells(paper: PaperTable, trainer: str, datasets, comparable: bool, stat: Stat) -> list[Cell | None]:
    """The paper's numbers; its Average for all of its datasets, for some of them theirs, by the same rule for H."""
    empty: list[Cell | None] = [None] * len(paper.metrics)
    if not comparable:
        return empty
    if "average" in paper.columns and set(datasets) == set(paper.columns) - {"average"} and not stat.mean_of_h:
        datasets = ["average"]
    values = {m: [paper.value(trainer, dataset, m) for dataset in datasets] for m in paper.metrics}
    if any(value is None for numbers in values.values() for value in numbers):
        return empty
    means = {metric: mean(numbers) for metric, numbers in values.items()}
    if len(datasets) > 1 and "H" in means and not stat.mean_of_h:
        means["H"] = harmonic(*(value for metric, value in means.items() if metric != "H"))
    return [Cell(means[metric]) for metric in paper.metrics]


def shots_title(shots: int) -> str:
    return str(shots) if shots > 0 else "all"


def h_notes(task, stat: Stat) -> list[str]:
    if not task.h_of:
        return []
    if stat.mean_of_h:
        return ["H: mean over seeds, and over datasets, of each run's H"]
    return [f"H: harmonic mean of mean {task.h_of[0]} and mean {task.h_of[1]}; its deviation is that of each seed's H"]
