"""Runs -> the tables that were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from . import ReportError
from .ablation import ablation_tables
from .compare import paired_table, seconds_table
from .groups import Group, group_runs
from .paper import PaperTable, paper_table
from .runs import Run
from .stats import Cell, Stat
from .table import Column, Table
from .tasks import task_named, task_rank

LAYOUTS = ("list", "paper")
TABLES = (1, 2, 3, 4, 5, 6)  # of the paper
ABLATIONS = (4, 5, 6)


@dataclass(frozen=True)
class Options:
    layout: str = "list"
    table: int | None = None  # one of the paper's tables, in its layout, the paper's own below
    stat: Stat = field(default_factory=Stat)
    paired: bool = False
    seconds: bool = False
    papers_own: bool = False  # adds the paper's table as it is printed
    wide: bool = False  # no line breaks in wide tables


def build(runs: Sequence[Run], options: Options) -> tuple[list[Table], list[str]]:
    """The tables, and warnings about the runs."""
    groups, warnings = group_runs(runs)
    tables: list[Table] = []
    for name, members in by_task(groups).items():
        if options.table is None or paper_table(options.table).task == name:
            tables += _tables(task_named(name, members), members, options)
    if options.table and not tables:
        raise ReportError(_nothing_of(options.table))
    return tables, warnings


def _nothing_of(number: int) -> str:
    paper = paper_table(number)
    found = f"no results of the paper's Table {number} ({paper.title}): expected"
    if number not in ABLATIONS:
        return f"{found} runs of the task {paper.task}"
    variants = ", ".join(row.suffix for row in paper.rows if row.options)
    return (
        f"{found} base2new runs of CoOp_SHIP whose configuration ends in one of {variants}.\n"
        f"Make them with  bash scripts/ablation.sh {number} caltech101 1"
    )


def by_task(groups: Sequence[Group]) -> dict[str, list[Group]]:
    names = sorted({group.task for group in groups}, key=task_rank)
    return {name: [group for group in groups if group.task == name] for name in names}


def _tables(task, groups: Sequence[Group], options: Options) -> list[Table]:
    if options.table in ABLATIONS:
        tables = ablation_tables(task, groups, options.stat, options.table, options.wide)
    elif options.layout == "paper" or options.table:
        tables = task.paper_layout(task, groups, options.stat, options.wide)
    else:
        tables = task.listing(task, groups, options.stat)
    if not tables:
        return []
    if options.paired:
        tables += filter(None, [paired_table(task, groups, options.stat)])
    if options.seconds:
        tables.append(seconds_table(task, groups))
    if options.table or (options.papers_own and task.paper):
        tables.append(papers_own_table(paper_table(options.table or task.paper)))
    return tables


def papers_own_table(paper: PaperTable) -> Table:
    """The paper's table as printed, on its own, so that its numbers stand beside no other backbone's."""
    columns = [Column("method", number=False)]
    single = len(paper.metrics) == 1 or len(paper.columns) == 1
    for title in paper.columns.values():
        for metric in paper.metrics:
            name = title if len(paper.metrics) == 1 else metric
            columns.append(Column(name, group="" if single else title))
    rows = []
    for row in paper.rows:
        method = f"{row.method} ({row.features})" if row.features else row.method
        values = [row.values.get(key, {}).get(metric) for key in paper.columns for metric in paper.metrics]
        rows.append([method, *map(Cell, values)])
    if paper.delta:
        rows.append(["Δ", *(Cell(paper.delta[key], signed=True) for key in paper.columns)])
    title = f"As printed in SHIP (ICCV 2023), Table {paper.number}: {paper.title}"
    return Table(title, columns, rows, ["ViT-B/16: not comparable with other backbones", *paper.notes])
