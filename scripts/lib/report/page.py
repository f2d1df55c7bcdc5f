"""One self-contained HTML page: tables, charts, and all runs with links to their folders (its look: page.html)."""

import os
from html import escape
from pathlib import Path
from string import Template

import pandas as pd

from trainers.core.files import replacing

from .plots import as_image, charts
from .runs import COST
from .table import Table


def write_page(path: str | Path, runs: pd.DataFrame, tables: list[Table], warnings: list[str]) -> Path:
    path, seeds = Path(path), ", ".join(map(str, sorted({*runs["seed"]})))
    about = " · ".join([f"{len(runs)} runs", *sorted({*runs["backbone"]}), f"seeds {seeds}"])
    body = [f"<figure>{as_image(title, cells)}</figure>" for title, cells in charts(tables).items()]
    body += [table.render("html") for table in tables]
    body += [f"<p class='notes'>{escape(warning)}</p>" for warning in warnings]
    body.append(f"<details><summary>All runs</summary><div class='scroll'>{every(runs, path)}</div></details>")
    text = Template(Path(__file__).with_name("page.html").read_text("utf-8")).substitute(
        title="Few-shot results", about=escape(about), body="\n".join(body)
    )
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="replace")
    return path


def every(runs: pd.DataFrame, page: Path) -> str:
    """A line per run: its metrics, and its folder as a link."""
    runs = runs.sort_values("path")
    table = runs[["task", "dataset", "shots", "trainer", "config", "seed"]].astype(str).map(escape)
    start = page.resolve().parent
    folders = [Path(os.path.relpath(Path(path).resolve().parent, start)).as_posix() for path in runs["path"]]
    table["seed"] = [f'<a href="{escape(folder)}/">' for folder in folders] + table["seed"] + "</a>"
    metrics = pd.DataFrame([*runs["metrics"]], index=runs.index, dtype=float)
    metrics = metrics[[name for name in metrics if not name.startswith(COST)]]
    return table.join(metrics).to_html(index=False, escape=False, border=0, na_rep="", float_format="{:.2f}".format)
