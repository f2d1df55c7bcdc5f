"""Charts of tables (bars per metric, or curves over shots), and one self-contained HTML page: charts,
tables, and all runs with links to their folders (its look: page.html)."""

import io
import os
import re
import sys
from base64 import b64encode
from html import escape
from pathlib import Path
from string import Template

import pandas as pd
from matplotlib import rcParams, style
from matplotlib.figure import Figure

from trainers.core.files import UserError, replacing

from .table import Table

style.use("tableau-colorblind10")
rcParams.update({"axes.grid": True, "axes.axisbelow": True, "lines.marker": "o", "text.parse_math": False})
CHARTED = ("accuracy", "base", "new", "unseen", "seen", "H", "all", "all_H")


def draw(tables: list[Table], place: str):
    """A file per chart: `place` where there is one chart, else place-<title>."""
    path, shown = Path(place), charts(tables)
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"--plot {path}: the name should end in .png, .pdf, .svg")
    for title, figure in shown.items():
        name = "-" + re.sub(r"[^\w.-]+", "_", title) if len(shown) > 1 else ""
        file = path.with_stem(path.stem + name)
        with replacing(file) as part:
            figure.savefig(part, format=path.suffix[1:], dpi=160, bbox_inches="tight")
        print(f"chart: {file}", file=sys.stderr)


def charts(tables: list[Table]) -> dict[str, Figure]:
    """{title: figure} of the tables that hold our own accuracies."""
    found = {}
    for table in tables:
        if "whose" in table.cells and not (table.cells["sign"] == "+").all():
            cells = table.cells[table.cells["metric"].isin(CHARTED) & (table.cells["whose"] == 0)]
            title = table.title.partition(":")[0]
            found |= {} if cells.empty else {title: chart(title, cells)}
    return found


def chart(title: str, cells: pd.DataFrame) -> Figure:
    """A panel per data set: bars grouped by metric with error bars over seeds, or accuracy against shots."""
    over_shots = cells["at"].nunique() > 1 and {*cells["metric"]} == {"accuracy"}
    index, place, kind = ("k-shot", ["place"], "line") if over_shots else ("metric", ["place", "at"], "bar")
    methods = cells.sort_values("row")["method"].unique()
    panels = [panel for _, panel in cells.dropna(subset="mean").sort_values(["order", "at"]).groupby(place)]
    width = max(6, 0.3 * len(methods) * cells["metric"].nunique() + 1.2)
    figure = Figure(figsize=(width, 3.2 * len(panels) + 1), layout="constrained")
    for axis, panel in zip(figure.subplots(len(panels), squeeze=False).flat, panels, strict=True):
        table = panel.pivot_table(["mean", "spread"], index, "method", sort=False, dropna=False)
        mean, spread = (table[name].reindex(columns=methods).astype(float) for name in ("mean", "spread"))
        mean.plot(kind=kind, ax=axis, yerr=spread, legend=False, rot=0, xlabel="", ylabel="accuracy (%)")
        axis.set(title=panel["data set"].iloc[0] + (f", {panel['shots'].iloc[0]} shots" if len(place) > 1 else ""))
    beside = max(1, int(width / (0.085 * max(map(len, methods)) + 0.6)))
    handles = axis.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=beside, frameon=False, fontsize=9)
    figure.suptitle(title, fontweight="bold", wrap=True)
    return figure


# ---- the page


def write_page(path: str, runs: pd.DataFrame, tables: list[Table], warnings: list[str]):
    seeds, body = ", ".join(map(str, sorted({*runs["seed"]}))), []
    about = " · ".join([f"{len(runs)} runs", *sorted({*runs["backbone"]}), f"seeds {seeds}"])
    for title, figure in charts(tables).items():
        image = io.BytesIO()
        figure.savefig(image, format="svg", bbox_inches="tight")
        data = b64encode(image.getvalue()).decode()
        body.append(f'<figure><img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}"></figure>')
    body += [table.render("html") for table in tables]
    body += [f"<p class='notes'>{escape(warning)}</p>" for warning in warnings]
    body.append("<details><summary>All runs</summary><ul class='notes'>")
    for folder in sorted(map(os.path.dirname, runs["path"])):
        address = os.path.relpath(folder, os.path.dirname(os.path.abspath(path)))
        body.append(f'<li><a href="{escape(address)}/">{escape(folder)}</a></li>')
    body.append("</ul></details>")
    page = Template(Path(__file__).with_name("page.html").read_text("utf-8"))
    with replacing(path) as part:
        text = page.substitute(title="Few-shot results", about=escape(about), body="\n".join(body))
        part.write_text(text, encoding="utf-8", errors="replace")
    print(f"page: {path}", file=sys.stderr)
