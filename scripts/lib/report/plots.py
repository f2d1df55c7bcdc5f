"""Charts: grouped bars for a few metrics, curves over the number of shots. Never two backbones in one chart."""

import math
import os
import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first: there may be no screen)

from ..run import UserError  # noqa: E402
from .apart import split  # noqa: E402
from .build import Task, by_task  # noqa: E402
from .methods import Method, backbone_title, measure, methods  # noqa: E402
from .paper import dataset_rank, dataset_title, names  # noqa: E402
from .pivot import by_source, shots_title  # noqa: E402
from .runs import Run  # noqa: E402
from .stats import spread_name  # noqa: E402

# A colour for each method (Okabe and Ito's, then Tol's, told apart by colour-blind readers): full with all plug-ins
# that are shown, lighter tints of the same one with fewer.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#332288", "#882255", "#999933")
ZERO_SHOT, INK, QUIET, LINE = "#8A8A8A", "#333333", "#666666", "#E4E4E4"
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "text.parse_math": False,  # names may hold any character
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.08,
    **dict.fromkeys(("axes.edgecolor", "ytick.color"), QUIET),
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color"), INK),
}
FORMATS = (".png", ".pdf", ".svg")


def draw(runs: Sequence[Run], path: str | Path, options: Namespace) -> list[Path]:
    """One file a chart: `path` where there is one chart, else path-<task>. Returns what was written."""
    path, found = Path(path), charts(runs)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--plot {path}: the name should end in {', '.join(FORMATS)}")
    targets = [path] if len(found) == 1 else [path.with_name(f"{path.stem}-{name}{path.suffix}") for name in found]
    for target, shown in zip(targets, found.values(), strict=True):
        with plt.rc_context(STYLE):
            save_figure(chart(*shown, options), target)
    return targets


def charts(runs: Sequence[Run]) -> dict[str, tuple[Task, list[Run]]]:
    """{name: what a chart shows}: one a task, source dataset and backbone."""
    found: dict = {}
    for _, of_task in by_task(runs):
        backbones = split(of_task, "backbone")
        for (backbone,), mine in backbones:
            ((task, _),) = by_task(mine)  # with the metrics that this backbone has
            for part in by_source(mine):
                words = [task.name, part.key["source"], backbone if len(backbones) > 1 else ""]
                name = "-".join(re.sub(r"[^\w.-]", "_", word) for word in words if word)
                found.setdefault(name, (task, []))[1].extend(part.runs)
    return found


def chart(task: Task, runs: Sequence[Run], options: Namespace):
    """A panel a dataset: bars grouped by metric with error bars over seeds, or accuracy against shots."""
    over_shots = task.name == "fewshot"
    panels = {key for key, _ in split(runs, "dataset", *["shots"] * (not over_shots))}
    panels = sorted(panels, key=lambda key: (dataset_rank(key[0]), key[1:]))
    shots, found = sorted({run.shots for run in runs}), beside_twins(methods(runs))
    metrics = [m for m in task.metrics if m != "all"] or task.metrics
    width = 4.2 if over_shots else max(3.4, 0.36 * len(found) * len(metrics) + 1.4)
    columns = max(1, min(len(panels), int(15 // width), math.ceil(math.sqrt(len(panels))) + 1))
    lines = math.ceil(len(panels) / columns)
    size = width * columns, 3.3 * lines + 1
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for i, (dataset, *at) in enumerate(panels):
        axis = axes.flat[i]
        axis.set_title(dataset_title(dataset) + (f", {shots_title(*at)} shots" if at and len(shots) > 1 else ""))
        axis.set_ylabel("accuracy (%)" if i % columns == 0 else "")
        if over_shots:
            _curves(axis, dataset, found, shots, options)
        else:
            _bars(axis, (dataset, *at), found, task, metrics, options)
    about = [f"from {source}" for source in sorted({dataset_title(run.source) for run in runs if run.source})]
    about += [f"{shots_title(shots[0])} shots"] * (len(shots) == 1)
    figure.legend(
        [plt.Rectangle((0, 0), 1, 1, color=colour(method, found)) for method in found],
        [method.title for method in found],
        title=f"{task.title} ({', '.join([*about, backbone_title(runs)])})\n",
        title_fontproperties={"size": 12, "weight": "bold"},
        loc="outside upper center",
        ncols=max(1, min(len(found), int(size[0] / (0.085 * max(len(method.title) for method in found) + 0.55)))),
        frameon=False,
        fontsize=9,
        handlelength=1.4,
    )
    figure.supxlabel(_note(found, options, "bands" if over_shots else "error bars"), fontsize=8, color=QUIET)
    return figure


def _bars(axis, key, found: Sequence[Method], task: Task, metrics, options: Namespace) -> None:
    step = 0.84 / len(found)
    for i, method in enumerate(found):
        for j, metric in enumerate(metrics if key in method.cells else ()):
            cell = measure([method.cells[key]], metric, task.parts, options)
            x = j + (i - (len(found) - 1) / 2) * step
            if cell.mean is None:
                axis.text(x, 1.5, "n/a", ha="center", va="bottom", rotation=90, fontsize=8, color=QUIET)
                continue
            axis.bar(x, cell.mean, width=step * 0.9, color=colour(method, found), linewidth=0)
            if cell.spread is not None:
                axis.errorbar(x, cell.mean, yerr=cell.spread, color=INK, elinewidth=1, capsize=2.2, capthick=1)
            if len(found) <= 6:
                y = cell.mean + (cell.spread or 0) + 1.2
                axis.text(x, y, f"{cell.mean:.1f}", ha="center", va="bottom", fontsize=7.5)
    axis.set_xticks(range(len(metrics)), metrics)
    axis.tick_params(axis="x", length=0)
    axis.set(xlim=(-0.55, len(metrics) - 0.45), ylim=(0, 100))


def _curves(axis, dataset: str, found: Sequence[Method], shots: list[int], options: Namespace) -> None:
    """A method that was run at one number of shots only is a dashed line."""
    for method in found:
        measured = ((at, runs) for (name, at), runs in sorted(method.cells.items()) if name == dataset)
        cells = ((at, measure([runs], "accuracy", {}, options)) for at, runs in measured)
        points = [(at, cell.mean, cell.spread or 0) for at, cell in cells if cell.mean is not None]
        line = colour(method, found)
        if len(points) == 1 < len(shots):
            axis.axhline(points[0][1], color=line, linewidth=1.6, linestyle=(0, (4, 3)))
        elif points:
            at, means, spreads = np.transpose(points)
            axis.plot(at, means, color=line, linewidth=2, marker="o", markersize=4.5)
            axis.fill_between(at, means - spreads, means + spreads, color=line, alpha=0.15, linewidth=0)
    axis.set_xscale("log", base=2)
    axis.set_xticks(shots, [shots_title(k) for k in shots])
    axis.set_xlabel("labelled images per class")


def beside_twins(found: Sequence[Method]) -> list[Method]:
    """Each twin right after its method."""
    families = list(dict.fromkeys(method.parts[0] for method in found))
    return sorted(found, key=lambda m: (families.index(m.parts[0]), len(m.parts[1]), m.parts[1]))


def colour(method: Method, found: Sequence[Method]):
    """Zero-shot grey; else by method in order of appearance, the lighter the fewer plug-ins it has of those shown."""
    if method.parts[0] == "ZeroshotCLIP":
        return ZERO_SHOT
    families = list(dict.fromkeys(m.parts[0] for m in found if m.parts[0] != "ZeroshotCLIP"))
    full = matplotlib.colors.to_rgb(COLOURS[families.index(method.parts[0]) % len(COLOURS)])
    shades = list(dict.fromkeys(m.parts for m in beside_twins(found) if m.parts[0] == method.parts[0]))
    lighter = 0.5 * (1 - shades.index(method.parts) / (len(shades) - 1)) if len(shades) > 1 else 0
    return tuple(1 - (1 - lighter) * (1 - part) for part in full)


def _note(found: Sequence[Method], options: Namespace, mark: str) -> str:
    counts = sorted({len(runs) for method in found for runs in method.cells.values()})
    seeds = " to ".join(map(str, sorted({counts[0], counts[-1]})))
    note = "one seed" if counts == [1] else f"mean of {seeds} seeds; {mark}: {spread_name(options)} over seeds"
    used = {name for method in found for name in (method.parts[0], *method.parts[1])}
    rebuilt = [name for name in names()["reconstructions"] if name in used]
    return note + (f"; reconstruction: {', '.join(rebuilt)}" if rebuilt else "")


def save_figure(figure, path: Path) -> None:
    try:
        with replacing(path) as part:
            figure.savefig(part, dpi=160)
    finally:
        plt.close(figure)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what then becomes `path` in one step: a viewer never shows half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
