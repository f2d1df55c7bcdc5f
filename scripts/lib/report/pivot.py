"""Layouts as data, and the one pivot that fills them.

A row and a column each hold a part of a cell's address (method, datasets, shots, metric, ...)."""

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from .apart import split
from .methods import Method, backbone_title, measure, methods, twins
from .paper import AVERAGE, PaperTable, dataset_rank, dataset_title
from .runs import Run
from .stats import Cell, spread_name
from .table import Column, Table

COLUMN_GROUPS_A_BLOCK = 3  # of a wide table, so that a block fits a terminal


@dataclass(frozen=True)
class Part:
    """What stands in one table: `runs`, made to rows by `find`; `key` is a part of the address of all its cells."""

    runs: Sequence[Run]
    about: str = ""  # what the title says of it
    key: dict = field(default_factory=dict)
    find: Callable[[Sequence[Run]], list[Method]] = methods


@dataclass(frozen=True)
class Layout:
    """`heads` are a row's words. "dataset" and "shots" among them give a block of rows each, in `across` columns."""

    heads: tuple[str, ...]
    across: tuple[str, ...]
    parts: Callable[[Sequence[Run]], Iterable[Part]] = lambda runs: [Part(runs)]
    average_first: bool = False
    differences: bool = False  # a row below each twin: what its plug-ins add
    printed: str = ""  # the paper's figures: "rows" or "columns"
    plain: bool = False  # means alone: no averages, spreads, notes, rules


@dataclass(frozen=True)
class View:
    """How cells are made: the same for all tables of a task."""

    options: Namespace
    parts: dict[str, tuple[str, ...]]  # metric -> the two whose harmonic mean it is
    paper: PaperTable | None
    extra: tuple[str, ...]  # blank where a run lacks them

    def cell(self, method, datasets=(), shots=0, metric="", source="", minus=None, printed=False) -> Cell | None:
        if printed:
            return self._printed(method, datasets, shots, metric, source)
        if minus:
            ours, theirs = (self.cell(m, datasets, shots, metric) for m in (method, minus))
            known = ours and theirs and ours.mean is not None and theirs.mean is not None
            return Cell(ours.mean - theirs.mean, signed=True) if known else None
        missing = [dataset for dataset in datasets if (dataset, shots) not in method.cells]
        if missing and len(datasets) > 1 and method.cells:  # over fewer, a mean would not compare with the other rows
            return Cell(note=f"no average: not run on {', '.join(missing)}")
        if missing:
            return Cell(note=method.absent) if method.absent else None
        cell = measure([method.cells[dataset, shots] for dataset in datasets], metric, self.parts, self.options)
        return None if metric in self.extra and cell.note == f"no {metric} in results.json" else cell

    def _printed(self, method: Method, datasets, shots: int, metric: str, source: str) -> Cell | None:
        """The paper's figures stand only beside runs on its backbone, with its number of shots and its source."""
        paper = self.paper
        if not paper or method.backbones != (paper.backbone,) or paper.shots not in (None, shots):
            return None
        name, value = ("method", method.title) if paper.variants else ("trainer", method.trainer)
        row = next((row for row in paper.rows if getattr(row, name) == value), None)
        return paper.cell(row, datasets, metric, self.options) if row and paper.source == source else None


def fill(layout: Layout, title: str, metrics: Sequence[str], runs: Sequence[Run], view: View, notes=()) -> list[Table]:
    """All tables of a layout."""
    tables = []
    for part in layout.parts(runs):
        tables += _fill(layout, title, list(metrics), part, view)
        tables[-1].notes += notes
    return tables


def _fill(layout: Layout, title: str, metrics: list[str], part: Part, view: View) -> list[Table]:
    datasets = tuple(sorted({run.dataset for run in part.runs}, key=dataset_rank))
    average = [datasets] * (len(datasets) > 1 and not layout.plain)
    each = [(dataset,) for dataset in datasets]
    places = average + each if layout.average_first else each + average
    rows = list(_rows(layout, part, places))
    heads = list(layout.heads)
    if len({run.backbone for run in part.runs}) > 1:  # then every row names its own
        heads.insert(heads.index("seeds") if "seeds" in heads else len(heads), "backbone")
    breaks = layout.across == ("dataset", "metric") and not view.options.wide
    size = COLUMN_GROUPS_A_BLOCK if breaks else len(places)
    tables = []
    title = ", ".join(filter(None, [title, part.about, backbone_title(part.runs)]))
    what = f"{'accuracy, ' * (metrics == ['accuracy'])}mean ± {spread_name(view.options)} over seeds, percent"
    for start in range(0, len(places), size):
        columns = list(_columns(layout, metrics, part, places[start : start + size], rows, view))
        shown = [Column(head, number=False) for head in heads] + [column for column, _ in columns]
        table = Table(f"{title} (continued)" if start else f"{title}: {what}", shown)
        if any(key.get("printed") for _, key in columns):
            table.notes.append(f"paper: {view.paper.name}, {shots_title(view.paper.shots or 0)} shots")
        for row in rows:
            cells = row and [view.cell(**part.key, **row[1], **key) for _, key in columns]
            if layout.plain:
                cells = [cell and replace(cell, spread=None, note="") for cell in cells]
            if row is None or any(cells) or not row[1].get("printed"):
                table.rows.append(row and [*(row[0].get(head, "") for head in heads), *cells])
        tables.append(table)
    return tables


def _rows(layout: Layout, part: Part, places) -> Iterator[tuple[dict, dict] | None]:
    """Each row as its words and its part of the address; None is a rule."""
    before = None
    for key, members in _blocks(layout, part.runs, places):
        found, place = part.find(members), key.get("datasets", ())
        for method in found:
            block = place or method.backbones, len(place) > 1 and key.get("shots")
            if before not in (None, block) and method.cells and not layout.plain:
                yield None
            before = block if method.cells else before
            title = Cell(words=method.title, note=method.note)
            words = {
                "dataset": place[0] if len(place) == 1 else AVERAGE,
                "shots": shots_title(key.get("shots", 0)),
                "trainer": replace(title, words=method.trainer),
                "method": title,
                "variant": title,
                "config": method.config or "(several)",
                "options": method.options,
                "backbone": backbone_title(method.runs),
                "seeds": method.seeds,
            }
            first, address = layout.heads[0], {**key, "method": method}
            yield words, address
            if layout.printed == "rows":
                yield {first: "  in the paper", "backbone": words["backbone"]}, {**address, "printed": True}
            for plain in twins(method, found) if layout.differences else ():
                yield {first: f"Δ to {plain.title}", "backbone": words["backbone"]}, {**address, "minus": plain}


def _blocks(layout: Layout, runs: Sequence[Run], places) -> Iterator[tuple[dict, list[Run]]]:
    """(address, runs) of each block of rows: a dataset, a number of shots, at the end the averages."""
    for place in places if "dataset" in layout.heads else [()]:
        inside = [run for run in runs if not place or run.dataset in place]
        if "shots" not in layout.heads:
            yield {"datasets": place} if place else {}, inside
            continue
        for (shots,), members in split(inside, "shots"):
            here = {run.dataset for run in members}
            if len(place) == 1 or len(here) > 1:
                yield {"datasets": tuple(dataset for dataset in place if dataset in here), "shots": shots}, members


def _columns(layout: Layout, metrics, part: Part, places, rows, view: View) -> Iterator[tuple[Column, dict]]:
    """Each column and its part of the address."""
    if layout.across == ("shots",):
        for (shots,), _ in split(part.runs, "shots"):
            yield Column(shots_title(shots), "shots"), {"shots": shots, "metric": metrics[0]}
    elif layout.across == ("metric",):
        yield from ((Column(metric), {"metric": metric}) for metric in metrics)
        for metric in view.paper.metrics if view.paper and layout.printed == "columns" else ():
            key = {"metric": metric, "printed": True}
            if any(row and view.cell(**part.key, **row[1], **key) for row in rows):
                yield Column(f"paper {metric}"), key
    else:
        for place in places:
            title = dataset_title(place[0] if len(place) == 1 else AVERAGE)
            for metric in metrics:
                column = Column(metric, title) if "metric" in layout.across else Column(title)
                yield column, {"datasets": place, "metric": metric}


def shots_title(shots: int) -> str:
    return str(shots) if shots > 0 else "all"


def by_shots(runs: Sequence[Run]) -> Iterator[Part]:
    for (shots,), members in split(runs, "shots"):
        yield Part(members, f"{shots_title(shots)} shots", {"shots": shots})


def by_source(runs: Sequence[Run]) -> Iterator[Part]:
    """Methods that learn nothing (zero-shot) have no source: they stand in the table of each, on its targets."""
    parts = dict(split(runs, "source", "shots"))
    for (source, shots), members in parts.items():
        targets = {run.dataset for run in members}
        if source:
            members = members + [run for run in parts.get(("", shots), []) if run.dataset in targets]
        elif any(source for source, _ in parts):
            continue
        about = f"trained on {dataset_title(source) if source else 'its source'}, {shots_title(shots)} shots"
        yield Part(members, about, {"shots": shots, "source": source})


def by_variant(paper: PaperTable, runs: Sequence[Run]) -> Iterator[Part]:
    """An ablation's variants are options of one configuration, and name its folder: a part for each <cfg> and shots."""
    variants = paper.variants
    mine = [(row, run) for row in variants for run in runs if run.trainer == variants[0].trainer]
    bases = {(run.config.removesuffix(row.suffix), run.shots) for row, run in mine if run.config.endswith(row.suffix)}
    for base, shots in sorted(bases):
        # with two options set, a configuration also ends in the second alone: what is left is a variant, not a base
        if any(base.endswith(row.suffix) for row in variants):
            continue
        wanted = {(row.trainer, base + row.suffix): row for row in paper.rows}
        members = [run for run in runs if run.shots == shots and (run.trainer, run.config) in wanted]
        datasets = {run.dataset for run in members if wanted[run.trainer, run.config].options}
        members = [run for run in members if run.dataset in datasets]
        yield Part(members, f"{base}, {shots_title(shots)} shots", {"shots": shots}, partial(_variants, paper, base))


def _variants(paper: PaperTable, base: str, runs: Sequence[Run]) -> list[Method]:
    found = []
    for row in paper.rows:
        key = row.trainer, base + row.suffix
        options = " ".join(f"{name}={value}" for name, value in row.options.items())
        mine = [run for run in runs if (run.trainer, run.config) == key]
        for (kind,), members in split(mine, "kind") or [(("",), [])]:
            cells, title = dict(split(members, "dataset", "shots")), f"{row.method} {kind}".rstrip()
            found.append(Method(row.trainer, title, cells, options, f"not run: {'/'.join(key)}"))
    return found
