"""One self-contained HTML page: tables, charts, and all runs with links to their folders (its look: page.html)."""

import io
import os
from base64 import b64encode
from html import escape
from pathlib import Path
from string import Template

import pandas as pd

from trainers.core.files import replacing

from .plots import chart, charts, plt, save_figure
from .runs import COST
from .table import Table

TEMPLATE = Path(__file__).with_name("page.html")
COLUMNS = ["task", "dataset", "shots", "trainer", "config", "seed"]


def write_page(path: str | Path, runs: pd.DataFrame, tables: list[Table], warnings: list[str]) -> Path:
    path = Path(path)
    seeds = ", ".join(map(str, sorted({*runs["seed"]})))
    about = " · ".join([f"{len(runs)} runs", *sorted({*runs["backbone"]}), f"seeds {seeds}"])
    body = [picture(*shown) for shown in charts(tables).items()] + [table.render("html") for table in tables]
    lines = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    body.append(f"<details><summary>Warnings</summary><ul class='notes'>{lines}</ul></details>" if lines else "")
    body.append(f"<details><summary>All runs</summary><div class='scroll'>{every(runs, path)}</div></details>")
    text = Template(TEMPLATE.read_text("utf-8")).substitute(
        title="Few-shot results", about=escape(about), body="\n".join(body)
    )
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="replace")
    return path


def picture(title: str, cells: pd.DataFrame) -> str:
    """A chart as an image within the page."""
    out = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": title}):  # the same runs make the same page
        save_figure(chart(title, cells), out, format="svg", metadata={"Date": None})
    data = b64encode(out.getvalue()).decode()
    return f'<figure><img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}"></figure>'


def every(runs: pd.DataFrame, page: Path) -> str:
    """A line per run: its metrics, and its folder as a link."""
    runs = runs.sort_values("path")
    table = runs[COLUMNS].astype(str).map(escape)
    folders = [os.path.relpath(path.resolve().parent, page.resolve().parent) for path in runs["path"]]
    links = [f'<a href="{escape(Path(folder).as_posix())}/">' for folder in folders]
    table["seed"] = links + table["seed"] + "</a>"
    metrics = pd.DataFrame([*runs["metrics"]], index=runs.index)
    metrics = metrics[[name for name in metrics if not name.startswith(COST)]]
    return table.join(metrics).to_html(index=False, escape=False, border=0, na_rep="", float_format="{:.2f}".format)
