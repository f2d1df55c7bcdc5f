"""Runs -> the tables that were asked for. A new task is a new entry of TASKS."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..run import UserError
from .apart import differing, spelled, split
from .methods import Method, backbone_title, methods, sample, twins
from .paper import FIRST, PaperTable, dataset_rank, main_tables, paper_table
from .pivot import Layout, View, by_shots, by_source, by_variant, fill, shots_title
from .runs import Run
from .stats import Cell, spread_name, summarise, whole
from .table import Column, Table

LAYOUTS = ("list", "paper")
TABLES = (1, 2, 3, 4, 5, 6)  # of the first paper
RUN = ("dataset", "shots", "trainer", "config", "seeds")
LIST = Layout(RUN, ("metric",), printed="columns")
PAPER = Layout(("method",), ("dataset", "metric"), by_shots, average_first=True, printed="rows")
SHOTS = Layout(("dataset", "method", "config", "seeds"), ("shots",))
TARGETS = Layout(("method", "seeds"), ("dataset",), by_source, differences=True, printed="rows")
VARIANTS = Layout(("variant", "options", "seeds"), ("dataset", "metric"), average_first=True, printed="rows")
SECONDS = Layout(RUN, ("metric",), plain=True)
STAGES = ("backbone", "features", "generator", "finetune", "evaluate")  # in the order of a run
JOINT = "all_base, all_new: accuracy on base and on new test images over all names; all_H: their harmonic mean"
CROSSED = "crossed: share of a side's test images that went to a name of the other side"


@dataclass(frozen=True)
class Task:
    name: str
    title: str
    metrics: tuple[str, ...] = ("accuracy",)
    h_of: tuple[str, ...] = ()  # the metrics whose harmonic mean is "H"
    extra: tuple[str, ...] = ()  # metrics shown where a run has them
    layouts: tuple[Layout, Layout] = (LIST, PAPER)  # those of LAYOUTS

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        return {"H": self.h_of, "all_H": ("all_base", "all_new")} if self.h_of else {}


_HALVES, _SIDES = ("base", "new"), ("unseen", "seen")
_JOINT, _CROSSED = ("all_base", "all_new", "all_H"), ("crossed_base", "crossed_new")
TASKS = (
    Task("base2new", "Base-to-new generalization", (*_HALVES, "H", "all"), _HALVES, _JOINT + _CROSSED),
    Task("fewshot", "Few-shot classification", layouts=(SHOTS, SHOTS)),
    Task("cross_dataset", "Cross-dataset transfer", layouts=(TARGETS, TARGETS)),
    Task("domain_generalization", "Domain generalization", layouts=(TARGETS, TARGETS)),
    Task("gzsl", "Generalized zero-shot learning", (*_SIDES, "H"), _SIDES, ("crossed_unseen", "crossed_seen")),
    Task("leave_classes_out", "Leave-classes-out", (*_HALVES, "H", "all"), _HALVES, _JOINT),
)


def build(runs: Sequence[Run], options: Namespace) -> list[Table]:
    """The tables that scripts/report.py was asked for. Raises UserError where there are no runs for a paper's table."""
    wanted = paper_table(options.table, options.paper) if options.table else None
    tables = []
    for task, mine in by_task(runs):
        if not wanted or wanted.task == task.name:
            tables += [replace(table, task=task.name) for table in _tables(task, mine, options, wanted)]
    if wanted and not tables:
        raise UserError(_nothing_of(wanted))
    return tables


def by_task(runs: Sequence[Run]) -> list[tuple[Task, list[Run]]]:
    """Each task and its runs. One that is not known here comes last, and is listed with the metrics that they have."""
    found, names = [], [task.name for task in TASKS]
    for (name,), mine in split(runs, "task"):
        metrics = tuple(dict.fromkeys(metric for run in mine for metric in run.metrics))
        task = TASKS[names.index(name)] if name in names else Task(name, name, metrics)
        found.append((replace(task, extra=tuple(metric for metric in task.extra if metric in metrics)), mine))
    return sorted(found, key=lambda pair: names.index(pair[0].name) if pair[0].name in names else len(names))


def _tables(task: Task, runs: Sequence[Run], options: Namespace, wanted: PaperTable | None) -> list[Table]:
    own = [wanted] if wanted else main_tables(task.name)
    beside = next((paper for paper in own if paper.verified and paper.paper == options.paper), None)
    title, layout, metrics = task.title, task.layouts[LAYOUTS.index(options.layout)], task.metrics + task.extra
    if wanted or options.layout == "paper":
        layout, metrics = task.layouts[1], tuple(beside.metrics if beside else task.metrics) + task.extra
    if wanted and wanted.variants:
        title, metrics = f"{wanted.title} (the paper's Table {wanted.table})", tuple(wanted.metrics)
        layout = replace(VARIANTS, parts=partial(by_variant, wanted))
    view = View(options, task.parts, beside, task.extra)
    tables = fill(layout, title, metrics, runs, view, _notes(task, metrics, options))
    if not tables:
        return []
    if options.paired:
        tables += paired_tables(task, runs, options)
    if options.seconds:
        tables.append(seconds_table(task, runs, view))
    if wanted or options.papers_own:
        tables += [papers_own_table(paper) for paper in own if paper.verified or options.papers_own]
    return tables


def _nothing_of(paper: PaperTable) -> str:
    found = f"no results of the paper's Table {paper.table} ({paper.title}): expected"
    if not paper.variants:
        return f"{found} runs of the task {paper.task}"
    return (
        f"{found} {paper.task} runs of {paper.variants[0].trainer} whose configuration ends in one of "
        f"{', '.join(row.suffix for row in paper.variants)}.\n"
        f"Make them with  bash scripts/ablation.sh {paper.table if paper.paper == FIRST else paper.paper} caltech101 1"
    )


def _notes(task: Task, metrics: Sequence[str], options: Namespace) -> list[str]:
    notes = []
    if task.h_of and options.mean_of_h:
        notes.append("H: mean over seeds, and over datasets, of each run's H")
    elif task.h_of:
        parts = f"mean {task.h_of[0]} and mean {task.h_of[1]}"
        notes.append(f"H: harmonic mean of {parts}; its deviation is that of each seed's H")
    notes += [JOINT] * any(metric.startswith("all_") for metric in metrics)
    return notes + [CROSSED] * any(metric.startswith("crossed") for metric in metrics)


def paired_tables(task: Task, runs: Sequence[Run], options: Namespace) -> list[Table]:
    """X + plug-in minus X for each seed that both have, and the mean of these; [] where there is no pair."""
    metrics, mixed = task.metrics + task.extra, len({run.backbone for run in runs}) > 1
    rows: list = []
    for key, mine in sorted(split(runs, "dataset", "shots"), key=lambda pair: (dataset_rank(pair[0][0]), pair[0][1])):
        found = methods(mine)
        for ours, plain in ((method, plain) for method in found for plain in twins(method, found)):
            parts = [task.parts.get(metric, (metric,)) for metric in metrics]
            differences = [_differences(ours.cells[key], plain.cells[key], part) for part in parts]
            name = Cell(words=f"{ours.trainer} - {plain.trainer}", note=_pair_note(ours, plain))
            configs = " - ".join(dict.fromkeys([ours.config, plain.config]))
            start = [key[0], shots_title(key[1]), name, configs, *[backbone_title(ours.runs)] * mixed]
            rows += [None] * bool(rows and not options.folded)
            for seed in sorted(set().union(*differences)) if not options.folded else ():
                cells = (Cell(found[seed][0], signed=True) if seed in found else Cell() for found in differences)
                rows.append([*start, str(seed), *cells])
            cells = (replace(summarise([d], options), signed=True) if d else Cell() for d in differences)
            rows.append([*start, "mean", *cells])
    heads = ["dataset", "shots", "difference", "config", *["backbone"] * mixed, "seed"]
    columns = [Column(head, number=False) for head in heads] + [Column(metric) for metric in metrics]
    title = f"{task.title}: paired differences per seed, mean ± {spread_name(options)}, points"
    return [Table(title, columns, rows, ["H: differences of each seed's own H"] * bool(task.h_of))] if rows else []


def _pair_note(ours: Method, plain: Method) -> str:
    """What the two differ in beside their own options, where both recorded it."""
    both = plain.runs[0], ours.runs[0]
    own = ("TRAINER.", "classnames")  # a plug-in may bring names
    keys = {key for key in differing(both) if all(key in run.identity for run in both) and not key.startswith(own)}
    unlike = spelled(both, keys, lambda run: run.trainer)
    notes = [ours.note, plain.note if plain.note not in ours.note else "", unlike and f"they differ too in {unlike}"]
    return "; ".join(filter(None, notes))


def _differences(ours: Sequence[Run], plain: Sequence[Run], parts) -> dict[int, tuple[float]]:
    first, second = sample(ours, parts), sample(plain, parts)
    return {seed: (whole(first[seed]) - whole(second[seed]),) for seed in first.keys() & second.keys()}


def seconds_table(task: Task, runs: Sequence[Run], view: View) -> Table:
    """Mean seconds of each stage, their sum, and the peak memory."""
    measured = dict.fromkeys(stage for run in runs for stage in run.costs)
    last = ("total", "peak MB")
    stages = [stage for stage in dict.fromkeys((*STAGES, *measured)) if stage in measured.keys() - last]
    (table,) = fill(SECONDS, task.title, [*stages, *last], runs, view)
    return replace(table, title=f"{task.title}: seconds a stage, mean over seeds", digits=1, aside=True)


def papers_own_table(paper: PaperTable) -> Table:
    """The paper's table as printed, on its own, so that its numbers stand beside no other backbone's."""
    single = len(paper.metrics) == 1 or len(paper.columns) == 1
    columns, rows = [Column("method", number=False)], []
    for title in paper.columns.values():
        names = [title] if len(paper.metrics) == 1 else paper.metrics
        columns += [Column(name, group="" if single else title) for name in names]
    for row in paper.rows:
        values = (row.values.get(key, {}).get(metric) for key in paper.columns for metric in paper.metrics)
        rows.append([f"{row.method} ({row.features})" if row.features else row.method, *map(Cell, values)])
    if paper.delta:
        rows.append(["Δ", *(Cell(paper.delta[key], signed=True) for key in paper.columns)])
    title = f"As printed in {paper.name}: {paper.title}"
    notes = [paper.note] * bool(paper.note) + [f"{paper.backbone}: not comparable with other backbones", *paper.notes]
    return Table(title, columns, rows, notes, aside=True)
