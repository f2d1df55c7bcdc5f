"""The paper's tables as data (configs/paper/table<n>.yaml), and the names that it gives to trainers and datasets."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from . import ReportError

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "paper"
BACKBONE = "ViT-B/16"
SHIP = "_SHIP"


@dataclass(frozen=True)
class PaperRow:
    method: str
    trainer: str  # "" where no trainer here stands for it
    values: dict[str, dict[str, float]]  # column -> metric -> percent
    features: str = ""
    options: dict[str, object] = field(default_factory=dict)  # of an ablation: keys below TRAINER.SHIP

    @property
    def suffix(self) -> str:
        """What the scripts add to a configuration's folder for these options."""
        return "".join(f"-TRAINER.SHIP.{key}={value}" for key, value in self.options.items())


@dataclass(frozen=True)
class PaperTable:
    number: int
    title: str
    task: str
    shots: int | None
    metrics: tuple[str, ...]
    columns: dict[str, str]  # key (a dataset's config name, or "average") -> title
    rows: tuple[PaperRow, ...]
    notes: tuple[str, ...]
    source: str = ""
    delta: dict[str, float] | None = None

    def value(self, trainer: str, column: str, metric: str) -> float | None:
        for row in self.rows:
            if row.trainer == trainer:
                return row.values.get(column, {}).get(metric)
        return None


@cache
def paper_table(number: int) -> PaperTable:
    path = FOLDER / f"table{number}.yaml"
    if not path.exists():
        raise ReportError(f"the paper's table {number} should be in {path}, which does not exist")
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    metrics = tuple(data["metrics"])
    rows = tuple(
        PaperRow(
            method=row["method"],
            trainer=row.get("trainer", ""),
            values={key: dict(zip(metrics, numbers, strict=True)) for key, numbers in row["values"].items()},
            features=row.get("features", ""),
            options=row.get("options", {}),
        )
        for row in data["rows"]
    )
    return PaperTable(
        number=data["table"],
        title=data["title"],
        task=data["task"],
        shots=data.get("shots"),
        metrics=metrics,
        columns=dict(data["columns"]),
        rows=rows,
        notes=tuple(data.get("notes", ())),
        source=data.get("source", ""),
        delta=data.get("delta"),
    )


def is_papers_backbone(backbones: Iterable[str]) -> bool:
    """The paper's numbers stand only beside numbers of its own backbone, never beside MiniCLIP's."""
    return set(backbones) == {BACKBONE}


def trainer_rank(trainer: str) -> tuple:
    """Sort key: the paper's order of rows; other methods before the SHIP twins, other twins at the end."""
    order = [row.trainer for row in paper_table(1).rows]
    if trainer in order:
        return order.index(trainer), trainer
    first_twin = next(i for i, name in enumerate(order) if name.endswith(SHIP))
    return (len(order), trainer) if trainer.endswith(SHIP) else (first_twin - 0.5, trainer)


def dataset_rank(dataset: str) -> tuple:
    order = [*paper_table(1).columns, *paper_table(3).columns]
    return order.index(dataset) if dataset in order else len(order), dataset


def method_title(trainer: str) -> str:
    """CLIP_Adapter_SHIP -> CLIP-Adapter + SHIP. The paper's "CLIP" is zero-shot, which here may be another backbone."""
    if trainer == "ZeroshotCLIP":
        return "Zero-shot"
    for row in paper_table(1).rows:
        if row.trainer == trainer:
            return row.method
    plain = trainer.removesuffix(SHIP).replace("_", "-")
    return f"{plain} + SHIP" if trainer.endswith(SHIP) else plain


def dataset_title(dataset: str) -> str:
    for number in (1, 3):
        if dataset in paper_table(number).columns:
            return paper_table(number).columns[dataset]
    return dataset
