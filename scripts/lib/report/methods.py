"""Runs that share a row (apart.py) share a cell; a trainer's cells over datasets and shots are a Method, a row."""

from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..run import split_trainer
from .apart import across, split
from .paper import method_title, reconstruction_note, trainer_rank
from .runs import Run
from .stats import Cell, Sample, summarise


@dataclass(frozen=True)
class Method:
    """A row: `cells` by (dataset, shots), each with its runs by seed."""

    trainer: str
    title: str
    cells: dict[tuple[str, int], list[Run]]
    options: str = ""  # of an ablation's variant
    absent: str = ""  # why a cell is empty, where that is known

    @cached_property
    def runs(self) -> list[Run]:
        return [run for runs in self.cells.values() for run in runs]

    @cached_property
    def backbones(self) -> tuple[str, ...]:
        return tuple(sorted({run.backbone for run in self.runs}))

    @cached_property
    def config(self) -> str:
        """ "" where datasets differ in it (CoOp has fewer epochs on ImageNet)."""
        configs = {run.label for run in self.runs}
        return configs.pop() if len(configs) == 1 else ""

    @cached_property
    def parts(self) -> tuple[str, tuple[str, ...]]:
        """The method and its plug-ins."""
        return (self.runs[0].method, self.runs[0].plugins) if self.runs else split_trainer(self.trainer)

    @property
    def seeds(self) -> str:
        """How many seeds: "3", or "1-3" where that differs."""
        counts = {len(runs) for runs in self.cells.values()} or {0}
        return "-".join(str(count) for count in sorted({min(counts), max(counts)}))

    @property
    def note(self) -> str:
        """A footnote to its name: by whom it was built, how it differs from its like."""
        own = sorted({run.note for run in self.runs if run.note})
        return "; ".join(filter(None, [reconstruction_note((self.parts[0], *self.parts[1])), *own]))


def methods(runs: Iterable[Run]) -> list[Method]:
    """One Method a backbone and trainer, or one a configuration where a dataset has several; in the paper's order."""
    rows, found = defaultdict(lambda: defaultdict(dict)), []
    for key, mine in split(runs, "trainer", "source", "dataset", "shots", "label"):
        backbones = frozenset(run.backbone for run in mine)
        rows[(*key[:2], backbones)][key[2:4]][key[4]] = mine
    for (trainer, *_), cells in rows.items():
        alone = all(len(cell) == 1 for cell in cells.values())
        configs = [""] if alone else sorted(set().union(*cells.values()))
        for config in configs:
            mine = {key: runs for key, cell in cells.items() for name, runs in cell.items() if config in ("", name)}
            method = Method(trainer, "", mine)
            title = method_title(*method.parts) + f" ({config})" * bool(config)
            found.append(replace(method, title=title))
    return sorted(found, key=lambda m: (m.backbones, *trainer_rank(m.trainer, m.parts[1]), m.config))


def twins(ours: Method, others: Sequence[Method]) -> list[Method]:
    """The rows without one of this row's plug-ins, and without any: of the same configuration, or of the only one."""
    method, plugins = ours.parts
    fewer = {tuple(p for p in plugins if p != name) for name in plugins} | ({()} if plugins else set())
    found = []
    for names in sorted(fewer, key=lambda names: (-len(names), names)):
        plain = [m for m in others if m.parts == (method, names) and m.backbones == ours.backbones]
        plain = [m for m in plain if m.runs[0].source == ours.runs[0].source]
        same = [m for m in plain if m.config == ours.config]
        found += same[:1] or (plain if len(plain) == 1 else [])
    return found


def sample(runs: Sequence[Run], parts: Sequence[str]) -> Sample:
    """Of the seeds that have all parts."""
    records = ((run.seed, {**run.costs, **run.metrics}) for run in runs)
    return {seed: tuple(found[part] for part in parts) for seed, found in records if found.keys() >= set(parts)}


def measure(cells: Sequence[Sequence[Run]], metric: str, parts_of: dict[str, tuple], options: Namespace) -> Cell:
    """Of one dataset, or the average of several; with its seeds and their folders."""
    parts = parts_of.get(metric, (metric,))
    samples = [sample(runs, parts) for runs in cells]
    if not all(samples):
        empty = (_note(runs, metric, parts, ()) for runs, found in zip(cells, samples, strict=True) if not found)
        return Cell(note="; ".join(dict.fromkeys(empty)))
    cell = summarise(samples, options)
    if len(cells) > 1:
        return replace(cell, note=across([run for runs in cells for run in runs]))
    folders = {run.seed: run.path.parent for run in cells[0]}
    return replace(cell, note=_note(cells[0], metric, parts, samples[0]), folders=folders)


def _note(runs: Sequence[Run], metric: str, parts: Sequence[str], measured: Iterable[int]) -> str:
    """Why seeds have no value, and how values were measured where that is unusual."""
    names, measured = (metric, *parts), sorted(measured)
    missing = [run.unsupported for run in runs if run.seed not in measured]
    absent = f"no {metric} in results.json"
    said = sorted({next((found[name] for name in names if name in found), absent) for found in missing})
    if missing and measured:
        said = [f"{metric} of seed {', '.join(map(str, measured))} only: {'; '.join(said)}"]
    return "; ".join(said + sorted({run.remarks[name] for run in runs for name in names if name in run.remarks}))


def backbone_title(runs: Iterable[Run]) -> str:
    return " and ".join(sorted({run.backbone for run in runs}))
