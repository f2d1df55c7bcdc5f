"""Runs that differ by their seed only form a Group: one cell of a table for each metric."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .runs import Run
from .stats import Cell, Stat, harmonic, mean, spread, summarise, summarise_h


@dataclass(frozen=True)
class Group:
    """Runs of one task, dataset, number of shots, trainer and configuration, by seed."""

    task: str
    source: str
    dataset: str
    shots: int
    trainer: str
    config: str
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)

    @property
    def backbones(self) -> frozenset[str]:
        return frozenset(run.backbone for run in self.runs)

    def values(self, metric: str, h_of: tuple[str, str] | None = None) -> dict[int, float]:
        """Seed -> value in percent, for the seeds that have one. H is made from its two parts `h_of`."""
        if metric == "H" and h_of:
            return {seed: harmonic(a, b) for seed, (a, b) in self.pairs(h_of).items()}
        return {run.seed: run.metrics[metric] for run in self.runs if metric in run.metrics}

    def pairs(self, h_of: tuple[str, str]) -> dict[int, tuple[float, float]]:
        """Seed -> the two parts of H, for the seeds that have both."""
        first, second = h_of
        return {
            run.seed: (run.metrics[first], run.metrics[second])
            for run in self.runs
            if first in run.metrics and second in run.metrics
        }

    def cell(self, metric: str, stat: Stat, h_of: tuple[str, str] | None = None) -> Cell:
        if metric == "H" and h_of:
            pairs = self.pairs(h_of)
            return summarise_h(list(pairs.values()), stat).with_note(self.note(metric, pairs, h_of))
        values = self.values(metric)
        return summarise(list(values.values()), stat).with_note(self.note(metric, values))

    def note(self, metric: str, measured: dict, h_of: tuple[str, str] | None = None) -> str:
        """Why seeds have no value, and how values were measured where that is unusual."""
        missing = [run for run in self.runs if run.seed not in measured]
        reasons = {_reason(run, metric, h_of) for run in missing}
        parts = sorted(reasons)
        if missing and measured:
            parts = [f"{metric} of seed {_listed(sorted(measured))} only: {'; '.join(parts)}"]
        remarks = {run.remarks[name] for run in self.runs for name in (metric, *(h_of or ())) if name in run.remarks}
        return "; ".join(parts + sorted(remarks))


def _reason(run: Run, metric: str, h_of: tuple[str, str] | None) -> str:
    for name in (metric, *(h_of or ())):
        if name in run.unsupported:
            return run.unsupported[name]
    return f"no {metric} in results.json"


def group_runs(runs: Iterable[Run]) -> tuple[list[Group], list[str]]:
    """Groups by everything but the seed. Of two runs with the same seed the newer file counts, with a warning."""
    warnings = []
    members: dict[tuple, dict[int, Run]] = defaultdict(dict)
    for run in runs:
        by_seed = members[run.task, run.source, run.dataset, run.shots, run.trainer, run.config]
        other = by_seed.get(run.seed)
        if other:
            older, run = sorted((other, run), key=lambda r: (r.path.stat().st_mtime_ns, str(r.path)))
            warnings.append(f"two results of the same run: using {run.path}, not {older.path}")
        by_seed[run.seed] = run
    groups = [Group(*key, tuple(by_seed[seed] for seed in sorted(by_seed))) for key, by_seed in sorted(members.items())]
    return groups, warnings + compare_runs(groups)


def compare_runs(groups: Sequence[Group]) -> list[str]:
    """Warnings of runs on the same dataset and task that should not be compared, and of groups with other seeds."""
    warnings = []
    by_dataset = defaultdict(list)
    for group in groups:
        by_dataset[group.task, group.source, group.dataset].append(group)
        if len(group.backbones) > 1 or len({run.backbone_hash for run in group.runs if run.backbone_hash}) > 1:
            warnings.append(f"{_name(group)}: its seeds ran on different backbones ({_backbones(group)})")
    for (task, _, dataset), members in by_dataset.items():
        for attribute, what in (("split_hash", "splits"), ("classnames_hash", "class names")):
            users = defaultdict(list)
            for group in members:
                for run in group.runs:
                    if getattr(run, attribute):
                        users[getattr(run, attribute)].append(f"{run.trainer}/{run.config} seed {run.seed}")
            if len(users) > 1:
                listed = "; ".join(f"{key[:12]}: {_shortened(names)}" for key, names in users.items())
                warnings.append(f"{task} {dataset}: results of different {what} should not be compared ({listed})")
        if len({group.seeds for group in members}) > 1:
            users = defaultdict(list)
            for group in members:
                users[group.seeds].append(f"{group.trainer}/{group.config} {group.shots} shots")
            listed = "; ".join(f"{_listed(seeds)}: {_shortened(names)}" for seeds, names in users.items())
            warnings.append(f"{task} {dataset}: rows have different seeds ({listed})")
    return warnings


def average(groups: Sequence[Group], metric: str, stat: Stat, h_of: tuple[str, str] | None = None) -> Cell:
    """Over datasets (one group each): mean of means; H by the rule of `stat`. The spread is of the per-seed averages,
    given only where all datasets have the same seeds."""
    if metric == "H" and h_of and not stat.mean_of_h:
        parts = [list(group.pairs(h_of).values()) for group in groups]
        if not all(parts):
            return _no_average(groups, metric, h_of)
        centre = harmonic(*(mean([mean([pair[i] for pair in pairs]) for pairs in parts]) for i in (0, 1)))
        per_seed = _per_seed([group.pairs(h_of) for group in groups])
        each = [harmonic(mean([a for a, _ in row]), mean([b for _, b in row])) for row in per_seed]
    else:
        values = [group.values(metric, h_of) for group in groups]
        if not all(values):
            return _no_average(groups, metric, h_of)
        centre = mean([mean(list(by_seed.values())) for by_seed in values])
        each = [mean(row) for row in _per_seed(values)]
    return Cell(centre, spread(each, stat))


def _no_average(groups: Sequence[Group], metric: str, h_of) -> Cell:
    empty = [group for group in groups if not group.values(metric, h_of)]
    return Cell(note="; ".join(dict.fromkeys(group.note(metric, {}, h_of) for group in empty)))


def _per_seed(by_seed: Sequence[dict]) -> list[list]:
    """[{seed: value} of each dataset] -> [[value of each dataset] of each seed]; empty unless all have equal seeds."""
    if len({frozenset(values) for values in by_seed}) != 1:
        return []
    return [[values[seed] for values in by_seed] for seed in sorted(by_seed[0])]


def _name(group: Group) -> str:
    return f"{group.task} {group.dataset} {group.trainer}/{group.config}"


def _backbones(group: Group) -> str:
    return ", ".join(f"seed {run.seed}: {run.backbone} {run.backbone_hash[:8]}".rstrip() for run in group.runs)


def _listed(items: Iterable) -> str:
    return ", ".join(map(str, items))


def _shortened(names: list[str]) -> str:
    return _listed(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
