"""Charts of tables: bars per metric, or curves over the number of shots. Never two backbones in one chart."""

import io
import math
import re
from base64 import b64encode
from html import escape
from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first: there may be no screen)

from trainers.core.files import UserError, replacing  # noqa: E402

from .table import Table  # noqa: E402

plt.style.use("tableau-colorblind10")
plt.rcParams.update({"axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True, "lines.marker": "o"})
plt.rcParams["text.parse_math"] = False  # names may hold $
CHARTED = ("accuracy", "base", "new", "unseen", "seen", "H", "all", "all_H")


def draw(tables: list[Table], path: str | Path) -> list[Path]:
    """A file per chart: `path` where there is one chart, else path-<title>. Returns what was written."""
    path, written, shown = Path(path), [], charts(tables)
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"--plot {path}: the name should end in .png, .pdf, .svg")
    for title, cells in shown.items():
        name = "-" + re.sub(r"[^\w.-]+", "_", title) if len(shown) > 1 else ""
        written.append(path.with_stem(path.stem + name))
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
        if "whose" in table.cells and not (table.cells["sign"] == "+").all():
            cells = table.cells[table.cells["metric"].isin(CHARTED) & (table.cells["whose"] == 0)]
            for backbone, part in cells.groupby("backbone"):
                several = f" {backbone}" * (cells["backbone"].nunique() > 1)
                found[table.title.partition(":")[0] + several] = part
    return found


def chart(title: str, cells: pd.DataFrame):
    """A panel per data set: bars grouped by metric with error bars over seeds, or accuracy against shots."""
    over_shots = cells["at"].nunique() > 1 and {*cells["metric"]} == {"accuracy"}
    index, place, kind = ("k-shot", ["place"], "line") if over_shots else ("metric", ["place", "at"], "bar")
    methods = cells.sort_values("row")["method"].unique()
    panels = [panel for _, panel in cells.dropna(subset="mean").sort_values(["order", "at"]).groupby(place)]
    width = max(3.4, 0.3 * len(methods) * cells["metric"].nunique() + 1.2)
    across = max(1, min(len(panels), int(15 // width)))
    size = (width * across, 3.2 * math.ceil(len(panels) / across) + 1)
    figure = plt.figure(figsize=size, layout="constrained")
    for number, panel in enumerate(panels, 1):
        axis = figure.add_subplot(math.ceil(len(panels) / across), across, number)
        table = panel.pivot_table(["mean", "spread"], index, "method", sort=False, dropna=False)
        mean, spread = (table[name].reindex(columns=methods).astype(float) for name in ("mean", "spread"))
        shots = "" if over_shots or cells["at"].nunique() == 1 else f", {panel['shots'].iloc[0]} shots"
        words = {"title": panel["data set"].iloc[0] + shots, "xlabel": "", "ylabel": "accuracy (%)"}
        mean.plot(kind=kind, ax=axis, yerr=spread, legend=False, rot=0, ylim=None if over_shots else (0, 100), **words)
    beside = max(1, int(size[0] / (0.085 * max(map(len, methods)) + 0.6)))
    handles = axis.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=beside, frameon=False, fontsize=9)
    figure.suptitle(title, fontweight="bold", wrap=True)
    return figure


def save_figure(figure, file, **options):
    """Writes a figure, of which nothing is clipped, and closes it."""
    figure.savefig(file, bbox_inches="tight", **options)
    plt.close(figure)
