"""One self-contained HTML page: tables, charts, and all runs with links to their folders (its look: page.html)."""

import io
import os
import re
from html import escape
from pathlib import Path
from string import Template

import pandas as pd

from trainers.core.files import replacing

from .plots import chart, charts, plt
from .runs import COST
from .table import Table

TEMPLATE = Path(__file__).with_name("page.html")


def write_page(path: str | Path, runs: list[dict], tables: list[Table], warnings: list[str]) -> Path:
    path = Path(path)
    about = [f"{len(runs)} runs", *sorted({run["backbone"] for run in runs})]
    about.append(f"seeds {', '.join(map(str, sorted({run['seed'] for run in runs})))}")
    body = [picture(*shown) for shown in charts(tables).values()] + [table.render("html") for table in tables]
    said = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    body.append(f"<details><summary>Warnings</summary><ul class='notes'>{said}</ul></details>" if said else "")
    body.append(f"<details><summary>All runs</summary><div class='scroll'>{every(runs, path)}</div></details>")
    text = Template(TEMPLATE.read_text("utf-8")).substitute(about=escape(" · ".join(about)), body="\n".join(body))
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="replace")
    return path


def picture(title: str, cells: pd.DataFrame) -> str:
    """A chart as inline SVG."""
    out = io.StringIO()
    with plt.rc_context({"svg.hashsalt": title}):
        figure = chart(title, cells)
        figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()[out.getvalue().index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
    return f'<figure role="img" aria-label="{escape(title)}">{text}</figure>'


def every(runs: list[dict], page: Path) -> str:
    """A line per run: its metrics, and its folder as a link."""
    names = ("task", "dataset", "shots", "trainer", "config", "seed")
    lines = []
    for run in sorted(runs, key=lambda run: str(run["path"])):
        folder = os.path.relpath(run["path"].resolve().parent, page.resolve().parent)
        link = f'<a href="{escape(Path(folder).as_posix())}/">{escape(str(run["seed"]))}</a>'
        values = {name: f"{value:.2f}" for name, value in run["values"].items() if not name.startswith(COST)}
        lines.append({**{name: escape(str(run[name])) for name in names}, "seed": link, **values})
    return pd.DataFrame(lines).fillna("").to_html(index=False, escape=False, border=0)
