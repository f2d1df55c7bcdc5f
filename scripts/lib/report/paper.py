"""Papers as data: tables (configs/papers/<paper>/table<n>.yaml), and names and order of methods and datasets."""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean

import yaml

from ..run import UserError
from .stats import Cell, harmonic

FOLDER = Path(__file__).resolve().parents[3] / "configs" / "papers"
FIRST = "ship"  # the paper whose rows and columns give the order of methods and datasets
AVERAGE = "average"
PLUGINS = ("SHIP", "SAR", "GATE")  # in the order of a trainer's name


@dataclass(frozen=True)
class PaperRow:
    method: str
    values: dict[str, dict[str, float]]  # column -> metric -> percent
    trainer: str = ""  # "" where no trainer here stands for it
    features: str = ""
    options: dict[str, object] = field(default_factory=dict)  # of an ablation: keys below `section`
    suffix: str = ""  # what the scripts add to a configuration's folder for these options


@dataclass(frozen=True)
class PaperTable:
    """A file: its keys are these fields."""

    paper: str
    table: int
    title: str
    task: str
    backbone: str  # the figures stand beside those of this backbone only
    metrics: list[str]
    columns: dict[str, str]  # key (a dataset's config name, or "average") -> title
    rows: list[PaperRow]
    shots: int | None = None
    source: str = ""
    section: str = ""  # where an ablation's options are
    delta: dict[str, float] | None = None
    verified: bool = True  # False: shown as printed on request with its note, never beside ours
    note: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{names()['papers'].get(self.paper, self.paper)}, Table {self.table}"

    @property
    def variants(self) -> list[PaperRow]:
        """What an ablation compares; [] in tables of methods."""
        return [row for row in self.rows if row.options]

    @property
    def datasets(self) -> set[str]:
        """Those that the average is of; an ablation that prints the average alone has them from Table 1."""
        return set(self.columns) - {AVERAGE} or paper_table(1, self.paper).datasets

    def cell(self, row: PaperRow, datasets: Sequence[str], metric: str, options: Namespace) -> Cell | None:
        """A dataset's figure, or of several: the printed average of all of them, of some theirs by the same rule."""
        own_h = options.mean_of_h and "H" in self.metrics and set(datasets) <= row.values.keys()
        if AVERAGE in row.values and len(datasets) > 1 and set(datasets) == self.datasets and not own_h:
            datasets = [AVERAGE]
        if metric not in self.metrics or not set(datasets) <= row.values.keys():
            return None
        means = {name: fmean(row.values[dataset][name] for dataset in datasets) for name in self.metrics}
        if metric == "H" and len(datasets) > 1 and not own_h:
            return Cell(harmonic(*(value for name, value in means.items() if name != "H")))
        return Cell(means[metric])


@cache
def paper_table(number: int, paper: str = FIRST) -> PaperTable:
    path = FOLDER / paper / f"table{number}.yaml"
    if not path.exists():
        raise UserError(f"Table {number} of '{paper}' should be in {path}, which does not exist")
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    for row in data["rows"]:
        row["suffix"] = "".join(f"-{data['section']}.{key}={value}" for key, value in row.get("options", {}).items())
        row["values"] = {key: dict(zip(data["metrics"], found, strict=True)) for key, found in row["values"].items()}
    return PaperTable(**{**data, "paper": paper, "rows": [PaperRow(**row) for row in data["rows"]]})


def main_tables(task: str) -> list[PaperTable]:
    """The tables of all papers that compare methods on this task (not ablations)."""
    files = [(paper, path) for paper in names()["papers"] for path in sorted((FOLDER / paper).glob("table*.yaml"))]
    tables = [paper_table(int(path.stem.removeprefix("table")), paper) for paper, path in files]
    return [table for table in tables if table.task == task and not table.variants]


@cache
def names() -> dict[str, dict[str, str]]:
    return yaml.safe_load((FOLDER / "names.yaml").read_text(encoding="utf-8"))


def trainer_rank(trainer: str, plugins: Sequence[str]) -> tuple:
    """Sort key: methods before their twins with plug-ins; the paper's order of rows, others behind them."""
    order = [row.trainer for row in paper_table(1).rows]
    ranks = [PLUGINS.index(name) if name in PLUGINS else len(PLUGINS) for name in plugins]
    return ranks, order.index(trainer) if trainer in order else len(order), trainer


def dataset_rank(dataset: str) -> tuple:
    order = list(_dataset_titles())
    return order.index(dataset) if dataset in order else len(order), dataset


def method_title(method: str, plugins: Sequence[str]) -> str:
    """CLIP_Adapter, (SHIP,) -> CLIP-Adapter + SHIP."""
    return " + ".join([names()["methods"].get(method, method.replace("_", "-")), *plugins])


def dataset_title(dataset: str) -> str:
    return _dataset_titles().get(dataset, dataset)


def reconstruction_note(parts: Iterable[str]) -> str:
    """The footnote of methods and plug-ins that were built without their authors' code; "" for others."""
    known = names()["reconstructions"]
    return "; ".join(f"{name}: {known[name]}" for name in dict.fromkeys(parts) if name in known)


@cache
def _dataset_titles() -> dict[str, str]:
    return {**paper_table(1).columns, **paper_table(3).columns, **names()["datasets"]}
