"""One entry a task: what it measures and how its tables are laid out. A new task is a new entry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import by_metric, pivot
from .groups import Group
from .stats import Stat
from .table import Table


@dataclass(frozen=True)
class Task:
    name: str
    title: str
    metrics: tuple[str, ...]
    h_of: tuple[str, str] | None  # the metrics whose harmonic mean is "H"
    paper: int | None  # the paper's table
    listing: Callable[["Task", Sequence[Group], Stat], list[Table]]
    paper_layout: Callable[["Task", Sequence[Group], Stat, bool], list[Table]]


def _by_metric(name: str, title: str, metrics: tuple[str, ...], h_of=None, paper=None) -> Task:
    return Task(name, title, metrics, h_of, paper, by_metric.list_tables, by_metric.paper_tables)


def _pivot(name: str, title: str, layout, paper=None) -> Task:
    return Task(name, title, (pivot.METRIC,), None, paper, layout, layout)


_KNOWN = (
    _by_metric("base2new", "Base-to-new generalization", ("base", "new", "H", "all"), ("base", "new"), paper=1),
    _pivot("fewshot", "Few-shot classification", pivot.shots_tables),
    _pivot("cross_dataset", "Cross-dataset transfer", pivot.target_tables, paper=2),
    _pivot("domain_generalization", "Domain generalization", pivot.target_tables),
    _by_metric("gzsl", "Generalized zero-shot learning", ("unseen", "seen", "H"), ("unseen", "seen"), paper=3),
)


def task_named(name: str, groups: Sequence[Group]) -> Task:
    """A task that is not known here is listed with the metrics that its runs have."""
    for task in _KNOWN:
        if task.name == name:
            return task
    metrics = dict.fromkeys(metric for group in groups for run in group.runs for metric in run.metrics)
    return _by_metric(name, name, tuple(metrics))


def task_rank(name: str) -> tuple:
    order = [task.name for task in _KNOWN]
    return order.index(name) if name in order else len(order), name
