"""Runs -> the tables that were asked for. A new task is a new entry of TASKS."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..run import UserError
from .apart import differing, spelled, split
from .methods import Method, backbone_title, methods, sample, twins
from .paper import FIRST, PaperTable, dataset_rank, main_tables, paper_table
from .pivot import Layout, View, by_shots, by_source, by_variant, fill, shots_title
from .runs import Run
from .stats import Cell, Stat, summarise, whole
from .table import Column, Table

LAYOUTS = ("list", "paper")
TABLES = (1, 2, 3, 4, 5, 6)  # of the first paper
RUN = ("dataset", "shots", "trainer", "config", "seeds")
LIST = Layout(RUN, ("metric",), printed="columns")
PAPER = Layout(("method",), ("dataset", "metric"), by_shots, average_first=True, printed="rows")
SHOTS = Layout(("dataset", "method", "config", "seeds"), ("shots",))
TARGETS = Layout(("method", "seeds"), ("dataset",), by_source, differences=True, printed="rows")
VARIANTS = Layout(
    ("variant", "options", "seeds"), ("dataset", "metric"), by_variant, average_first=True, printed="rows"
)
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
    listing: Layout = LIST
    paper_layout: Layout = PAPER

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        return {"H": self.h_of, "all_H": ("all_base", "all_new")} if self.h_of else {}


_HALVES, _SIDES = ("base", "new"), ("unseen", "seen")
_JOINT, _CROSSED = ("all_base", "all_new", "all_H"), ("crossed_base", "crossed_new")
TASKS = (
    Task("base2new", "Base-to-new generalization", (*_HALVES, "H", "all"), _HALVES, _JOINT + _CROSSED),
    Task("fewshot", "Few-shot classification", listing=SHOTS, paper_layout=SHOTS),
    Task("cross_dataset", "Cross-dataset transfer", listing=TARGETS, paper_layout=TARGETS),
    Task("domain_generalization", "Domain generalization", listing=TARGETS, paper_layout=TARGETS),
    Task("gzsl", "Generalized zero-shot learning", (*_SIDES, "H"), _SIDES, ("crossed_unseen", "crossed_seen")),
    Task("leave_classes_out", "Leave-classes-out", (*_HALVES, "H", "all"), _HALVES, _JOINT),
)


@dataclass(frozen=True)
class Options(Stat):
    """What scripts/report.py takes, under the same names."""

    layout: str = "list"
    paper: str = FIRST
    table: int | None = None  # one of the paper's tables, in its layout, the paper's own below
    paired: bool = False
    seconds: bool = False
    papers_own: bool = False  # adds the papers' tables as they are printed
    wide: bool = False  # no line breaks in wide tables
    folded: bool = False  # for a page: the seeds of paired differences are kept in their mean's cell


def build(runs: Sequence[Run], options: Options) -> list[Table]:
    """The tables. Raises UserError where one of the paper's was asked for and there are no runs for it."""
    wanted = paper_table(options.table, options.paper) if options.table else None
    tables = []
    for name, members in by_task(runs).items():
        if not wanted or wanted.task == name:
            made = _tables(task_named(name, members), members, options, wanted)
            tables += [replace(table, task=name) for table in made]
    if wanted and not tables:
        raise UserError(_nothing_of(wanted))
    return tables


def by_task(runs: Sequence[Run]) -> dict[str, list[Run]]:
    order = [task.name for task in TASKS]
    found = {task: members for (task,), members in split(runs, "task")}
    return {name: found[name] for name in sorted(found, key=lambda n: order.index(n) if n in order else len(order))}


def task_named(name: str, runs: Sequence[Run]) -> Task:
    """A task that is not known here is listed with the metrics that its runs have."""
    found = tuple(dict.fromkeys(metric for run in runs for metric in run.metrics))
    known = next((task for task in TASKS if task.name == name), Task(name, name, found))
    return replace(known, extra=tuple(metric for metric in known.extra if metric in found))


def _tables(task: Task, runs: Sequence[Run], options: Options, wanted: PaperTable | None) -> list[Table]:
    own = [wanted] if wanted else main_tables(task.name)
    beside = next((paper for paper in own if paper.verified and paper.paper == options.paper), None)
    layout, metrics, wide = task.listing, task.metrics + task.extra, True
    if wanted or options.layout == "paper":
        layout, wide = task.paper_layout, options.wide
        metrics = tuple(beside.metrics if beside else task.metrics) + task.extra
    if wanted and wanted.is_ablation:
        layout, metrics = VARIANTS, tuple(wanted.metrics)
    view = View(options, task.parts, beside, task.extra)
    tables = fill(layout, task.title, metrics, runs, view, _notes(task, metrics, options), wide)
    if not tables:
        return []
    if options.paired:
        tables += paired_tables(task, runs, options)
    if options.seconds:
        tables.append(seconds_table(task, runs))
    if wanted or options.papers_own:
        tables += [papers_own_table(paper) for paper in own if paper.verified or options.papers_own]
    return tables


def _nothing_of(paper: PaperTable) -> str:
    found = f"no results of the paper's Table {paper.table} ({paper.title}): expected"
    if not paper.is_ablation:
        return f"{found} runs of the task {paper.task}"
    variants = [row for row in paper.rows if row.options]
    return (
        f"{found} {paper.task} runs of {variants[0].trainer} whose configuration ends in one of "
        f"{', '.join(row.suffix for row in variants)}.\n"
        f"Make them with  bash scripts/ablation.sh {paper.table} caltech101 1"
    )


def _notes(task: Task, metrics: Sequence[str], stat: Stat) -> list[str]:
    notes = []
    if task.h_of and stat.mean_of_h:
        notes.append("H: mean over seeds, and over datasets, of each run's H")
    elif task.h_of:
        parts = f"mean {task.h_of[0]} and mean {task.h_of[1]}"
        notes.append(f"H: harmonic mean of {parts}; its deviation is that of each seed's H")
    notes += [JOINT] * any(metric.startswith("all_") for metric in metrics)
    return notes + [CROSSED] * any(metric.startswith("crossed") for metric in metrics)


def paired_tables(task: Task, runs: Sequence[Run], options: Options) -> list[Table]:
    """X + plug-in minus X for each seed that both have, and the mean of these; [] where there is no pair."""
    heads, metrics = ["dataset", "shots", "difference", "config", "seed"], task.metrics + task.extra
    mixed = len({run.backbone for run in runs}) > 1
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
            for seed in () if options.folded else sorted({seed for found in differences for seed in found}):
                cells = (Cell(found[seed][0], signed=True) if seed in found else Cell() for found in differences)
                rows.append([*start, str(seed), *cells])
            cells = (replace(summarise([d], options), signed=True) if d else Cell() for d in differences)
            rows.append([*start, "mean", *cells])
    columns = [Column(name, number=False) for name in heads[:4] + ["backbone"] * mixed + heads[4:]]
    title = f"{task.title}: paired differences per seed, mean ± {options.spread_name}, points"
    notes = ["H: differences of each seed's own H"] if task.h_of else []
    return [Table(title, columns + [Column(metric) for metric in metrics], rows, notes)] if rows else []


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


def seconds_table(task: Task, runs: Sequence[Run]) -> Table:
    """Mean seconds of each stage, their sum, and the peak memory."""
    found = dict.fromkeys((*STAGES, *(stage for run in runs for stage in run.costs)))
    last = ("total", "peak MB")
    stages = [stage for stage in found if stage not in last and any(stage in run.costs for run in runs)]
    (table,) = fill(SECONDS, task.title, [*stages, *last], runs, View())
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
