"""Each cell of a paper's table beside the runs that stand for it: ours, the paper's, the difference."""

from dataclasses import dataclass
from statistics import fmean

import yaml
from tabulate import tabulate

from .report.paper import AVERAGE
from .report.stats import harmonic
from .run import ROOT, Options, Place, Run, UserError, read_results

HARMONIC = {"base2new": ("base", "new"), "gzsl": ("unseen", "seen")}  # H is of the means of these
Metrics = dict[str, float | None]  # percent; None where there is no number


@dataclass(frozen=True)
class Row:
    """A row of ours: the runs of one method, whose `options` say what makes it another variant of it."""

    run: Run
    options: Options


def paper_table(paper: str, table: int) -> dict:
    path = ROOT / f"configs/papers/{paper}/table{table}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def compare(paper: dict, rows: list[Row], datasets: list[str], place: Place) -> str:
    """The table as text. `datasets`: those that the column Average is the mean of."""
    metrics, lines = paper["metrics"], []
    asked = {AVERAGE, *(row.run.dataset for row in rows if row.run.task == paper["task"])}
    columns = {key: title for key, title in paper["columns"].items() if key in asked}
    for row in paper["rows"]:
        if not row.get("trainer"):
            continue  # no method here stands for it
        for column, title in columns.items():
            of = datasets if column == AVERAGE else [column]
            ours, note, comparable = measure(paper, [runs_of(row, paper, dataset, rows) for dataset in of], place)
            printed = dict(zip(metrics, row["values"].get(column, []), strict=False)) if comparable else {}
            pairs = [(ours.get(metric), printed.get(metric)) for metric in metrics]
            lines.append([row["method"], title, *(text for pair in pairs for text in texts(*pair)), note])
    heads = [head for metric in metrics for head in (metric, "paper", "diff.")]
    text = tabulate(lines, ["method", "data set", *heads, "seeds"], disable_numparse=True)
    return f"Table {paper['table']}: {paper['title']}\n\n{text}"


def texts(ours: float | None, papers: float | None) -> list[str]:
    """Ours, the paper's, the difference."""
    difference = f"{ours - papers:+.2f}" if ours is not None and papers is not None else "-"
    return [*("-" if value is None else f"{value:.2f}" for value in (ours, papers)), difference]


def runs_of(row: dict, paper: dict, dataset: str, rows: list[Row]) -> list[Run]:
    """The runs, of all seeds, that a row of the paper means on a data set."""
    wanted = {f"{paper['section']}.{key}": str(value) for key, value in row.get("options", {}).items()}
    return [
        one.run
        for one in rows
        if (one.run.task, one.run.dataset, one.run.trainer) == (paper["task"], dataset, row["trainer"])
        and dict(one.options) == wanted
    ]


def measure(paper: dict, members: list[list[Run]], place: Place) -> tuple[Metrics, str, bool]:
    """Our numbers, of how many seeds they are, and whether the paper's may stand beside them. `members`: the runs of
    each data set. A mean over data sets needs all of them."""
    done = [[figures(run, place) for run in runs if run.done(place)] for runs in members]
    counts = [len(results) for results in done]
    if not members or not all(counts):
        missing = "not run" if not any(counts) else f"no mean: {counts.count(0)} data sets are missing"
        return {}, missing, True
    of = max(len(runs) for runs in members)
    note = f"{min(counts)}" if min(counts) == of else f"{min(counts)} of {of}"
    names = {name for results in done for name, _ in results}
    comparable = names == {paper["backbone"]}
    if not comparable:
        note += f"; {', '.join(sorted(names))}, the paper has {paper['backbone']}"
    return means(paper, [[metrics for _, metrics in results] for results in done]), note, comparable


def figures(run: Run, place: Place) -> tuple[str, Metrics]:
    """(the backbone's name, the metrics) of a finished run. Raises UserError where its results.json has none."""
    path = run.results(place)
    found = read_results(path)
    backbone, metrics = found.get("backbone"), found["metrics"]
    name = backbone.get("name") if isinstance(backbone, dict) else None
    numbers = (value is None or (type(value) in (int, float) and 0 <= value <= 100) for value in metrics.values())
    if not isinstance(name, str) or not all(numbers):
        raise UserError(f"{path} is damaged (no backbone, or metrics that are no percent); delete it, and run it again")
    return name, metrics


def means(paper: dict, results: list[list[Metrics]]) -> Metrics:
    """Over seeds, then over data sets; H of the means, as the paper's Table 1 has it."""
    found: Metrics = {}
    for metric in paper["metrics"]:
        values = [[one[metric] for one in seeds if one.get(metric) is not None] for seeds in results]
        found[metric] = fmean(fmean(seeds) for seeds in values) if all(values) else None
    sides = [found.get(name) for name in HARMONIC.get(paper["task"], ())]
    if "H" in found and sides:
        found["H"] = None if None in sides else harmonic(*sides)
    return found
