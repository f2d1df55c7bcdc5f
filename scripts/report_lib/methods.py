"""The rows of tables that span datasets: a Method is a trainer with one Group for each dataset and number of shots."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .groups import Group, average
from .paper import SHIP, is_papers_backbone, method_title, trainer_rank
from .stats import Cell, Stat


@dataclass(frozen=True)
class Method:
    """`groups` by (dataset, shots). `config` is "" where datasets differ in it (CoOp has fewer epochs on ImageNet)."""

    trainer: str
    config: str
    backbones: frozenset[str]
    title: str
    groups: dict[tuple[str, int], Group]

    @property
    def seeds(self) -> str:
        """How many seeds: "3", or "1-3" where that differs."""
        counts = sorted({len(group.runs) for group in self.groups.values()})
        return "-".join(str(count) for count in (counts if len(counts) == 1 else (counts[0], counts[-1])))

    @property
    def has_papers_backbone(self) -> bool:
        return is_papers_backbone(self.backbones)

    def average(self, datasets: Sequence[str], shots: int, metric: str, stat: Stat, h_of=None) -> Cell:
        """Over exactly these datasets; a mean over fewer would not compare with the other rows."""
        missing = [dataset for dataset in datasets if (dataset, shots) not in self.groups]
        if missing:
            return Cell(note=f"no average: not run on {', '.join(missing)}")
        return average([self.groups[dataset, shots] for dataset in datasets], metric, stat, h_of)


def methods(groups: Sequence[Group]) -> list[Method]:
    """One Method a trainer and backbone, or one a configuration where a dataset has several; in the paper's order."""
    by_trainer = defaultdict(list)
    for group in groups:
        by_trainer[group.trainer, group.backbones].append(group)
    found = []
    for (trainer, backbones), members in by_trainer.items():
        if max(Counter((group.dataset, group.shots) for group in members).values()) == 1:
            parts = [members]
        else:
            parts = [[g for g in members if g.config == config] for config in sorted({g.config for g in members})]
        for part in parts:
            configs = {group.config for group in part}
            title = method_title(trainer)
            if len(parts) > 1:
                title += f" ({part[0].config})"
            config = configs.pop() if len(configs) == 1 else ""
            found.append(Method(trainer, config, backbones, title, {(g.dataset, g.shots): g for g in part}))
    titles = Counter(method.title for method in found)
    found = [
        Method(m.trainer, m.config, m.backbones, f"{m.title}, {_joined(m.backbones)}", m.groups)
        if titles[m.title] > 1
        else m
        for m in found
    ]
    return sorted(found, key=lambda m: (trainer_rank(m.trainer), m.config, sorted(m.backbones)))


def twin_of(method: Method, others: Sequence[Method]) -> Method | None:
    """The row of the fine-tuner without SHIP that a row of its twin is compared with."""
    if not method.trainer.endswith(SHIP):
        return None
    plain = [m for m in others if m.trainer == method.trainer.removesuffix(SHIP) and m.backbones == method.backbones]
    same = [m for m in plain if m.config == method.config]
    return same[0] if same else plain[0] if len(plain) == 1 else None


def backbone_title(groups: Sequence[Group]) -> str:
    return _joined({name for group in groups for name in group.backbones})


def _joined(names) -> str:
    return " and ".join(sorted(names))
