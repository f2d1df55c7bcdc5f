"""Beyond accuracy: what SHIP changes per seed, and what the runs cost."""

from collections.abc import Sequence

from .by_metric import shots_title
from .groups import Group
from .paper import SHIP, dataset_rank, trainer_rank
from .stats import Cell, Stat, mean, summarise
from .table import Column, Table

STAGES = ("backbone", "features", "generator", "finetune", "evaluate")  # in the order of a run


def paired_table(task, groups: Sequence[Group], stat: Stat) -> Table | None:
    """X + SHIP minus X for each seed that both have, and the mean of these differences; None where there is no pair."""
    pairs = [(group, plain) for group in groups if (plain := _plain(group, groups))]
    pairs.sort(key=lambda pair: (dataset_rank(pair[0].dataset), pair[0].shots, trainer_rank(pair[0].trainer)))
    if not pairs:
        return None
    columns = [Column(name, number=False) for name in ("dataset", "shots", "difference", "config", "seed")]
    columns += [Column(metric) for metric in task.metrics]
    rows: list = []
    for ours, plain in pairs:
        differences = {metric: _differences(ours, plain, metric, task.h_of) for metric in task.metrics}
        seeds = sorted({seed for by_seed in differences.values() for seed in by_seed})
        name = f"{ours.trainer} - {plain.trainer}"
        configs = ours.config if ours.config == plain.config else f"{ours.config} - {plain.config}"
        start = [ours.dataset, shots_title(ours.shots), name, configs]
        rows += [None] * bool(rows)
        for seed in seeds:
            values = [by_seed.get(seed) for by_seed in differences.values()]
            rows.append([*start, str(seed), *(Cell(value, signed=True) for value in values)])
        cells = [summarise(list(by_seed.values()), stat) for by_seed in differences.values()]
        rows.append([*start, "mean", *(Cell(cell.mean, cell.spread, signed=True) for cell in cells)])
    title = f"{task.title}: paired differences per seed, mean ± {stat.spread_name}, points"
    notes = ["H: differences of each seed's own H"] if task.h_of else []
    return Table(title, columns, rows, notes)


def _plain(group: Group, groups: Sequence[Group]) -> Group | None:
    """The same run without SHIP: of the same configuration, or of the only one that there is."""
    if not group.trainer.endswith(SHIP):
        return None
    found = [
        other
        for other in groups
        if other.trainer == group.trainer.removesuffix(SHIP)
        and (other.dataset, other.shots, other.source, other.backbones)
        == (group.dataset, group.shots, group.source, group.backbones)
    ]
    same = [other for other in found if other.config == group.config]
    return same[0] if same else found[0] if len(found) == 1 else None


def _differences(ours: Group, plain: Group, metric: str, h_of) -> dict[int, float]:
    first, second = ours.values(metric, h_of), plain.values(metric, h_of)
    return {seed: first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())}


def seconds_table(task, groups: Sequence[Group]) -> Table:
    """Mean seconds of each stage, their sum, and the peak memory."""
    found = dict.fromkeys(stage for group in groups for run in group.runs for stage in run.seconds)
    stages = [stage for stage in STAGES if stage in found] + [stage for stage in found if stage not in STAGES]
    columns = [Column(name, number=False) for name in ("dataset", "shots", "trainer", "config", "seeds")]
    columns += [Column(name) for name in [*stages, "total", "peak MB"]]
    rows = []
    for group in sorted(groups, key=lambda g: (dataset_rank(g.dataset), g.shots, trainer_rank(g.trainer), g.config)):
        row: list = [group.dataset, shots_title(group.shots), group.trainer, group.config, str(len(group.runs))]
        for stage in stages:
            row.append(_mean_cell([run.seconds[stage] for run in group.runs if stage in run.seconds]))
        row.append(_mean_cell([sum(run.seconds.values()) for run in group.runs if run.seconds]))
        row.append(_mean_cell([run.peak_memory_mb for run in group.runs if run.peak_memory_mb is not None]))
        rows.append(row)
    return Table(f"{task.title}: seconds a stage, mean over seeds", columns, rows, digits=1)


def _mean_cell(values: list[float]) -> Cell:
    return Cell(mean(values)) if values else Cell()
