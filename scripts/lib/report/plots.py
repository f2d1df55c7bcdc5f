"""Charts of tables: bars per metric, or curves over the number of shots. Never two backbones in one chart."""

import io
import math
import re
from base64 import b64encode
from html import escape
from itertools import cycle
from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first: there may be no screen)

from trainers.core.files import UserError, replacing  # noqa: E402

from .table import Table  # noqa: E402

# Okabe and Ito's colours, then Tol's, which colour-blind readers tell apart
COLOURS = "#0072B2 #D55E00 #009E73 #CC79A7 #E69F00 #56B4E9 #8C6D31 #332288 #882255 #999933".split()
STYLE = {"axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True, "text.parse_math": False}  # names may hold $
CHARTED = ("accuracy", "base", "new", "unseen", "seen", "H", "all", "all_H")


def draw(tables: list[Table], path: str | Path) -> list[Path]:
    """A file per chart: `path` where there is one chart, else path-<title>. Returns what was written."""
    path, written, shown = Path(path), [], charts(tables)
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"--plot {path}: the name should end in .png, .pdf, .svg")
    for title, cells in shown.items():
        name = "-" + re.sub(r"[^\w.-]+", "_", title) if len(shown) > 1 else ""
        written.append(path.with_name(f"{path.stem}{name}{path.suffix}"))
        with replacing(written[-1]) as part:
            save_figure(chart(title, cells), part, format=path.suffix[1:].lower(), dpi=160)
    return written


def as_image(title: str, cells: pd.DataFrame) -> str:
    """A chart as an image that lies within a page; the same runs make the same one."""
    out = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": title}):
        save_figure(chart(title, cells), out, format="svg", metadata={"Date": None})
    data = b64encode(out.getvalue()).decode()
    return f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}">'


def charts(tables: list[Table]) -> dict[str, pd.DataFrame]:
    """{title of a chart: its cells}, a chart for each backbone of a table that holds our own figures."""
    found = {}
    for table in tables:
        if "whose" in table.cells and not table.cells["plus"].all():
            cells = table.cells[table.cells["metric"].isin(CHARTED) & (table.cells["whose"] == 0)]
            for backbone, part in cells.groupby("backbone"):
                several = f" {backbone}" * (cells["backbone"].nunique() > 1)
                found[table.title.partition(":")[0] + several] = part
    return found


def chart(title: str, cells: pd.DataFrame):
    """A panel per data set: bars grouped by metric with error bars over seeds, or accuracy against shots."""
    several = cells["at"].nunique() > 1
    over_shots = several and {*cells["metric"]} == {"accuracy"}
    colours = dict(zip(cells.sort_values("row")["method"].unique(), cycle(COLOURS)))
    panels = [panel for _, panel in cells.dropna(subset="mean").groupby(["place"] if over_shots else ["place", "at"])]
    width = 4.2 if over_shots else max(3.4, 0.3 * len(colours) * cells["metric"].nunique() + 1.2)
    across = max(1, min(len(panels), int(15 // width)))
    down = math.ceil(len(panels) / across)
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(width * across, 3.2 * down + 1), layout="constrained")
        for number, panel in enumerate(panels, 1):
            axis = figure.add_subplot(down, across, number)
            draw_panel(axis, panel.sort_values("order"), colours, over_shots)
            shots = f", {panel['shots'].iloc[0]} shots" * (several and not over_shots)
            axis.set(title=panel["data set"].iloc[0] + shots, ylabel="accuracy (%)")
        handles = [plt.Rectangle((0, 0), 1, 1, color=shade, label=method) for method, shade in colours.items()]
        beside = max(1, int(width * across / (0.085 * max(map(len, colours)) + 0.6)))
        figure.legend(handles=handles, loc="outside lower center", ncols=beside, frameon=False, fontsize=9)
        figure.suptitle(title, fontweight="bold", wrap=True)
    return figure


def draw_panel(axis, panel: pd.DataFrame, colours: dict[str, str], over_shots: bool):
    """Bars for each metric, or a curve over the number of shots."""
    table = panel.pivot_table(["mean", "spread"], "at" if over_shots else "metric", "method", sort=False, dropna=False)
    mean, spread = (table[name].reindex(columns=colours).astype(float) for name in ("mean", "spread"))
    if over_shots:
        mean, spread = mean.sort_index(), spread.sort_index()
        mean.plot(ax=axis, yerr=spread, color=colours, marker="o", legend=False, logx=True)
        axis.minorticks_off()
        axis.set(xlabel="labelled images per class", xticks=mean.index, xticklabels=mean.index)
    else:
        mean.plot.bar(ax=axis, yerr=spread, color=colours, width=0.84, legend=False, rot=0)
        axis.set(xlabel="", ylim=(0, 100))


def save_figure(figure, file, **options):
    """Writes a figure, of which nothing is clipped, and closes it."""
    figure.savefig(file, bbox_inches="tight", **options)
    plt.close(figure)
