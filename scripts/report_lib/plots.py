"""Charts: grouped bars for a few metrics, curves over the number of shots."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first: there may be no screen)

from . import ReportError  # noqa: E402
from .build import by_task  # noqa: E402
from .by_metric import shots_title  # noqa: E402
from .groups import Group, group_runs  # noqa: E402
from .methods import Method, backbone_title, methods  # noqa: E402
from .paper import SHIP, dataset_rank, dataset_title  # noqa: E402
from .runs import Run  # noqa: E402
from .stats import Stat  # noqa: E402
from .tasks import Task, task_named  # noqa: E402

# A colour for each fine-tuner (Okabe and Ito's, told apart by colour-blind readers); a SHIP twin has the full
# colour, the method without it a light tint of the same one.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
ZERO_SHOT = "#8A8A8A"
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#E4E4E4",
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "ytick.color": "#555555",
}
FORMATS = (".png", ".pdf", ".svg")


def draw(runs: Sequence[Run], path: str | Path, stat: Stat) -> list[Path]:
    """One chart a task (and source dataset): `path` where there is one, else path-<task>. Returns what was written."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ReportError(f"--plot {path}: the name should end in {', '.join(FORMATS)}")
    charts = {}
    for name, groups in by_task(group_runs(runs)[0]).items():
        for source in sorted({group.source for group in groups}):
            charts[f"{name}-{source}".rstrip("-")] = [group for group in groups if group.source == source]
    written = []
    for name, groups in charts.items():
        task = task_named(groups[0].task, groups)
        target = path if len(charts) == 1 else path.with_name(f"{path.stem}-{name}{path.suffix}")
        with plt.rc_context(STYLE):
            figure = curves(task, groups, stat) if task.name == "fewshot" else bars(task, groups, stat)
            save_figure(figure, target)
        written.append(target)
    return written


def bars(task: Task, groups: Sequence[Group], stat: Stat):
    """A panel a dataset (and number of shots): bars grouped by metric, one for each method, error bars over seeds."""
    panels = sorted({(dataset_rank(group.dataset), group.dataset, group.shots) for group in groups})
    several_shots = len({shots for _, _, shots in panels}) > 1
    found = beside_twins(methods(groups))
    metrics = [m for m in task.metrics if m != "all"] or list(task.metrics)
    width = max(3.4, 0.36 * len(found) * len(metrics) + 1.4)
    figure, axes = _panels(len(panels), width)
    for axis, (_, dataset, shots) in zip(axes, panels, strict=True):
        step = 0.84 / len(found)
        for i, method in enumerate(found):
            group = method.groups.get((dataset, shots))
            if group is None:
                continue
            cells = [group.cell(metric, stat, task.h_of) for metric in metrics]
            xs = [j + (i - (len(found) - 1) / 2) * step for j in range(len(metrics))]
            _draw_bars(axis, xs, cells, step, colour(method, found), label_values=len(found) <= 6)
        title = dataset_title(dataset) + (f", {shots_title(shots)} shots" if several_shots else "")
        axis.set_title(title)
        axis.set_xticks(range(len(metrics)), metrics)
        axis.tick_params(axis="x", length=0)
        axis.set_xlim(-0.55, len(metrics) - 0.45)
        axis.set_ylim(0, 100)
        axis.set_ylabel("accuracy (%)" if axis in _left(axes) else "")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour(method, found)) for method in found]
    about = [f"from {dataset_title(groups[0].source)}"] if groups[0].source else []
    about += [] if several_shots else [f"{shots_title(panels[0][2])} shots"]
    _frame(
        figure,
        f"{task.title} ({', '.join([*about, backbone_title(groups)])})",
        handles,
        found,
        _seeds_note(groups, stat, "error bars"),
    )
    return figure


def _draw_bars(axis, xs, cells, step: float, fill, label_values: bool) -> None:
    for x, cell in zip(xs, cells, strict=True):
        if cell.mean is None:
            axis.text(x, 1.5, "n/a", ha="center", va="bottom", rotation=90, fontsize=8, color="#777777")
            continue
        spread = cell.spread or 0
        axis.bar(x, cell.mean, width=step * 0.9, color=fill, linewidth=0)
        if cell.spread is not None:
            axis.errorbar(x, cell.mean, yerr=spread, color="#333333", elinewidth=1, capsize=2.2, capthick=1)
        if label_values:
            axis.text(x, cell.mean + spread + 1.2, f"{cell.mean:.1f}", ha="center", va="bottom", fontsize=7.5)


def curves(task: Task, groups: Sequence[Group], stat: Stat):
    """A panel a dataset: accuracy against shots; a method that was run at one number of shots only is a dashed line."""
    datasets = sorted({group.dataset for group in groups}, key=dataset_rank)
    shots = sorted({group.shots for group in groups})
    found = beside_twins(methods(groups))
    figure, axes = _panels(len(datasets), 4.2)
    for axis, dataset in zip(axes, datasets, strict=True):
        for method in found:
            cells = {
                k: method.groups[dataset, k].cell("accuracy", stat) for k in shots if (dataset, k) in method.groups
            }
            points = {k: cell for k, cell in cells.items() if cell.mean is not None}
            _draw_curve(axis, points, shots, colour(method, found))
        axis.set_title(dataset_title(dataset))
        axis.set_xscale("log", base=2)
        axis.set_xticks(shots, [shots_title(k) for k in shots])
        axis.set_xlabel("labelled images per class")
        axis.set_ylabel("accuracy (%)" if axis in _left(axes) else "")
    handles = [plt.Line2D([0], [0], color=colour(method, found), linewidth=2, marker="o") for method in found]
    _frame(figure, f"{task.title} ({backbone_title(groups)})", handles, found, _seeds_note(groups, stat, "bands"))
    return figure


def _draw_curve(axis, points: dict, shots: list[int], line) -> None:
    if not points:
        return
    if len(points) == 1 and len(shots) > 1:
        axis.axhline(next(iter(points.values())).mean, color=line, linewidth=1.6, linestyle=(0, (4, 3)))
        return
    xs, means = list(points), [cell.mean for cell in points.values()]
    spreads = [cell.spread or 0 for cell in points.values()]
    axis.plot(xs, means, color=line, linewidth=2, marker="o", markersize=4.5)
    low, high = ([m + sign * s for m, s in zip(means, spreads, strict=True)] for sign in (-1, 1))
    axis.fill_between(xs, low, high, color=line, alpha=0.15, linewidth=0)


def beside_twins(found: Sequence[Method]) -> list[Method]:
    """Each SHIP twin right after its fine-tuner."""
    families = list(dict.fromkeys(method.trainer.removesuffix(SHIP) for method in found))
    return sorted(found, key=lambda m: (families.index(m.trainer.removesuffix(SHIP)), m.trainer.endswith(SHIP)))


def colour(method: Method, found: Sequence[Method]):
    """Zero-shot grey; else by fine-tuner in order of appearance, tinted where a SHIP twin has the full colour."""
    if method.trainer == "ZeroshotCLIP":
        return ZERO_SHOT
    families = list(dict.fromkeys(m.trainer.removesuffix(SHIP) for m in found if m.trainer != "ZeroshotCLIP"))
    full = matplotlib.colors.to_rgb(COLOURS[families.index(method.trainer.removesuffix(SHIP)) % len(COLOURS)])
    has_twin = any(m.trainer == method.trainer + SHIP for m in found)
    return tuple(1 - 0.5 * (1 - part) for part in full) if has_twin else full


def _panels(count: int, width: float):
    """A figure with `count` axes, at most about 15 inches wide."""
    columns = max(1, min(count, int(15 // width), math.ceil(math.sqrt(count)) + 1))
    lines = math.ceil(count / columns)
    figure, axes = plt.subplots(lines, columns, figsize=(width * columns, 3.3 * lines + 1), squeeze=False)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def _left(axes) -> list:
    return [axis for axis in axes if axis.get_subplotspec().is_first_col()]


def _frame(figure, title: str, handles, found: Sequence[Method], note: str) -> None:
    """Title and legend above the panels, the note below; sizes in inches, so that panels keep theirs."""
    width, height = figure.get_size_inches()
    longest = max(len(method.title) for method in found)
    columns = max(1, min(len(found), int(width / (0.085 * longest + 0.55))))
    legend_height = 0.24 * math.ceil(len(found) / columns)
    figure.text(0.5, 1 - 0.12 / height, title, ha="center", va="top", fontsize=12, fontweight="bold")
    figure.legend(
        handles,
        [method.title for method in found],
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.36 / height),
        ncols=columns,
        frameon=False,
        fontsize=9,
        handlelength=1.4,
        columnspacing=1.4,
    )
    figure.text(0.5, 0.08 / height, note, ha="center", va="bottom", fontsize=8, color="#666666")
    figure.tight_layout(rect=(0, 0.24 / height, 1, 1 - (0.44 + legend_height) / height), h_pad=1.6)


def _seeds_note(groups: Sequence[Group], stat: Stat, mark: str) -> str:
    counts = sorted({len(group.runs) for group in groups})
    if counts == [1]:
        return "one seed"
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"mean of {seeds} seeds; {mark}: {stat.spread_name} over seeds"


def save_figure(figure, path: Path) -> None:
    """Atomic, so that a viewer never shows half a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        figure.savefig(part, dpi=160)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
        plt.close(figure)
