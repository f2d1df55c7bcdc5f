"""Charts of tables: bars per metric, or curves over the number of shots. Never two backbones in one chart."""

import math
import re
from itertools import cycle
from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first: there may be no screen)

from trainers.core.files import UserError, replacing  # noqa: E402

from .table import Table  # noqa: E402

# Okabe and Ito's colours, then Tol's, which colour-blind readers tell apart
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#332288", "#882255", "#999933")
CHARTED = ("accuracy", "base", "new", "unseen", "seen", "H", "all", "all_H")
FORMATS = (".png", ".pdf", ".svg")
STYLE = {
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "text.parse_math"), False),  # names may hold a $
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    **{"axes.grid.axis": "y", "grid.color": "#E4E4E4", "font.size": 10, "axes.titlesize": 11},
}


def draw(tables: list[Table], path: str | Path) -> list[Path]:
    """A file per chart: `path` where there is one chart, else path-<task>. Returns what was written."""
    path, found = Path(path), charts(tables)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--plot {path}: the name should end in {', '.join(FORMATS)}")
    targets = [path] if len(found) == 1 else [path.with_name(f"{path.stem}-{name}{path.suffix}") for name in found]
    for target, shown in zip(targets, found.values(), strict=True):
        save_figure(chart(*shown), target)
    return targets


def charts(tables: list[Table]) -> dict[str, tuple[str, pd.DataFrame]]:
    """{name of a chart: (its title, its cells)}"""
    found = {}
    for table in tables:
        cells = table.cells[table.cells["metric"].isin(CHARTED)]
        for backbone, part in cells[cells["whose"] == 0].groupby("backbone") if table.name else ():
            several = f" {backbone}" * (table.cells["backbone"].nunique() > 1)
            title = table.title.partition(":")[0]
            found[re.sub(r"[^\w.-]+", "_", table.name + several)] = title + several, part
    return found


def chart(title: str, cells: pd.DataFrame):
    """A panel per data set: bars grouped by metric with error bars over seeds, or accuracy against shots."""
    over_shots = cells["at"].nunique() > 1 and {*cells["metric"]} == {"accuracy"}
    methods = cells.sort_values("row")["method"].unique()
    colours = dict(zip(methods, cycle(COLOURS)))
    panels = [panel for _, panel in cells.groupby(["place"] if over_shots else ["place", "at"])]
    width = 4.2 if over_shots else max(3.4, 0.3 * len(colours) * cells["metric"].nunique() + 1.2)
    across = max(1, min(len(panels), int(15 // width)))
    down = math.ceil(len(panels) / across)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            down, across, figsize=(width * across, 3.2 * down + 1), squeeze=False, layout="constrained"
        )
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis, panel in zip(axes.flat, panels, strict=False):
            (curves if over_shots else bars)(axis, panel, colours)
            shots = f", {panel['shots'].iloc[0]} shots" * (cells["at"].nunique() > 1 and not over_shots)
            axis.set(title=panel["data set"].iloc[0] + shots, ylabel="accuracy (%)")
        handles = [plt.Rectangle((0, 0), 1, 1, color=shade) for shade in colours.values()]
        beside = max(1, int(width * across / (0.085 * max(map(len, colours)) + 0.6)))
        figure.legend(handles, [*colours], loc="outside lower center", ncols=beside, frameon=False, fontsize=9)
        figure.suptitle(title, fontsize=12, fontweight="bold", wrap=True)
    return figure


def bars(axis, panel: pd.DataFrame, colours: dict):
    metrics = panel.drop_duplicates("order").sort_values("order")["metric"]
    table = panel.pivot(index="order", columns="method", values=["mean", "spread"]).astype(float)
    shown = [method for method in colours if method in table["mean"]]
    shades = [colours[method] for method in shown]
    table["mean"][shown].plot.bar(
        ax=axis, yerr=table["spread"][shown], color=shades, width=0.84, legend=False, capsize=2
    )
    axis.grid(axis="x", visible=False)
    axis.set_xticks(range(len(metrics)), metrics, rotation=0)
    axis.set(xlabel="", ylim=(0, 100))


def curves(axis, panel: pd.DataFrame, colours: dict):
    """A method that was run at one number of shots only is a dashed line."""
    for method, line in panel.dropna(subset="mean").sort_values("at").groupby("method"):
        if len(line) == 1:
            axis.axhline(line["mean"].iloc[0], color=colours[method], linestyle="--")
        else:
            axis.errorbar("at", "mean", yerr=line["spread"].fillna(0), data=line, color=colours[method], marker="o")
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted({*panel["at"]}), map(str, sorted({*panel["at"]})))
    axis.set_xlabel("labelled images per class")


def save_figure(figure, path: str | Path):
    """Writes a figure whole, or not at all, and closes it; nothing of it is clipped."""
    try:
        with replacing(path) as part:
            figure.savefig(part, format=Path(path).suffix[1:].lower(), dpi=160, bbox_inches="tight")
    finally:
        plt.close(figure)
