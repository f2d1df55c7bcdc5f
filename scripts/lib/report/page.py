"""One self-contained HTML page: all tables and charts, seeds, links to the runs (its look: page.html)."""

import io
import os
import re
from argparse import Namespace
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

from .build import Task, build
from .pivot import shots_title
from .plots import INK, LINE, QUIET, STYLE, chart, charts, plt, replacing
from .runs import Run
from .stats import Cell
from .table import Table

TEMPLATE = Path(__file__).with_name("page.html")
THEME = {INK: "var(--ink)", QUIET: "var(--quiet)", LINE: "var(--line)"}
SHOWN = {"wide": True, "paired": True, "seconds": True, "folded": True}  # on a page, whether asked for or not


def write_page(path: str | Path, runs: Sequence[Run], options: Namespace, warnings: Sequence[str] = ()) -> Path:
    path, pictures = Path(path), charts(runs)
    tables = build(runs, Namespace(**{**vars(options), **SHOWN}))
    links, body = [], []
    for name in dict.fromkeys(table.task for table in tables):
        drawn = {key: shown for key, shown in pictures.items() if shown[0].name == name}
        title = escape(next(task.title for task, _ in drawn.values()))
        links.append(f'<a href="#{escape(name)}">{title}</a>')
        body.append(f'<h2 id="{escape(name)}">{title}</h2>')
        body += [_picture(key, *shown, options) for key, shown in drawn.items()]
        body += [_table(table, path.parent) for table in tables if table.task == name]
    said = "".join(f"<li>{escape(warning)}" for warning in warnings)
    folded = f'<details><summary>Warnings</summary><ul class="warnings">{said}</ul></details>' * bool(said)
    backbones, shots, seeds = (sorted({getattr(run, name) for run in runs}) for name in ("backbone", "shots", "seed"))
    about = [f"{len(runs)} runs", ", ".join(backbones), f"{', '.join(map(shots_title, shots))} shots"]
    about.append(f"seeds {', '.join(map(str, seeds))}")
    about += sorted({f"version {run.version}" for run in runs if run.version})
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title="Few-shot results",
        about=escape(" · ".join(about)),
        body="\n".join([f"<nav>{' '.join(links)}</nav>", folded, *body]),
    )
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="replace")
    return path


def _picture(name: str, task: Task, runs: Sequence[Run], options: Namespace) -> str:
    """A chart as inline SVG, in the page's colours and font."""
    out = io.StringIO()
    with plt.rc_context({**STYLE, "svg.fonttype": "none", "svg.hashsalt": name}):
        figure = chart(task, runs, options)
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)
    text = out.getvalue()[out.getvalue().index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # the charts of a page have the same
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    for colour, variable in THEME.items():
        text = text.replace(colour.lower(), variable)
    return f'<figure role="img" aria-label="{escape(name)}">{text}</figure>'


def _table(table: Table, base: Path) -> str:
    title, _, rest = table.title.partition(": ")
    heading = f"{escape(title)} <small>{escape(rest)}</small>"
    starts = {members[0] for group, members in table.headings() if group} - {0}
    kinds = ["n" * column.number + " first" * (i in starts) for i, column in enumerate(table.columns)]
    groups = [
        f'<th class="first" colspan="{len(members)}">{escape(group)}' if group else "<th>" * len(members)
        for group, members in table.headings()
    ]
    head = f"<tr><th>{''.join(groups)}" * any(column.group for column in table.columns) + "<tr><th>"
    head += "".join(f'<th class="{kind}">{escape(column.title)}' for kind, column in zip(kinds, table.columns))
    rows = ["<tbody>"]
    for above, row in zip([None, *table.rows], table.rows):
        rows.append(_row(table, kinds, row, above, base) if row else "<tbody>")
    notes = "".join(f"<li>{escape(note)}" for note in table.footnotes())
    content = f'<div class="scroll"><table><thead>{head}{"".join(rows)}</table></div><ul class="notes">{notes}</ul>'
    if table.aside:
        return f"<details><summary>{heading}</summary>{content}</details>"
    return f"<h3>{heading}</h3>{content}"


def _row(table: Table, kinds: list[str], row: list, above: list | None, base: Path) -> str:
    """The row, and below it, folded, one for each seed. Words that repeat those above are faint."""
    seeds = sorted({seed for item in row if isinstance(item, Cell) for seed in item.seeds})
    button = '<button type="button" aria-expanded="false" aria-label="seeds">›</button>' * bool(seeds)
    words, before = (
        [i.words if isinstance(i, Cell) else i for i in line] for line in (row, above or [None] * len(row))
    )
    fresh = next((i for i in range(len(row)) if not words[i] or words[i] != before[i]), len(row))
    cells = [_cell(table, kinds[i] + " same" * (i < fresh), item) for i, item in enumerate(row)]
    printed = " printed" * (words[0] or "").startswith("  ")
    text = f'<tr class="{"run" * bool(seeds)}{printed}"><td class="open">{button}{"".join(cells)}'
    start = sum(not column.number for column in table.columns)
    for seed in seeds:
        numbers = (_seed(table, kind, item, seed, base) for kind, item in zip(kinds[start:], row[start:]))
        text += f'<tr class="seed" hidden><td><td colspan="{start}">seed {seed}{"".join(numbers)}'
    return text


def _cell(table: Table, kind: str, item: Cell | str | None) -> str:
    if not isinstance(item, Cell):
        return f'<td class="{kind}">{escape(item or "")}'
    number, _, spread = item.text(table.digits).partition(" ± ")
    text = escape(number) + f"<i>± {spread}</i>" * bool(spread)
    text += f"<sup>{table.marks()[item.note]}</sup>" if item.note else ""
    if item.mean is None:
        return f'<td class="{kind}">{text}'
    sign = (" up" if item.mean > 0 else " down") * item.signed
    bar = f' style="--v:{item.mean:.1f}"' * (table.digits == 2 and not item.signed)
    seeds = "&#10;".join(f"seed {seed}: {value:.{table.digits}f}" for seed, value in item.seeds.items())
    return f'<td class="{kind}{sign}"{bar} title="{seeds}">{text}'


def _seed(table: Table, kind: str, item: Cell | None, seed: int, base: Path) -> str:
    if not item or seed not in item.seeds:
        return "<td>"
    text = f"{item.seeds[seed]:.{table.digits}f}"
    if seed in item.folders:
        link = quote(Path(os.path.relpath(item.folders[seed].resolve(), base.resolve())).as_posix())
        text = f'<a href="{link}/">{text}</a>'
    return f'<td class="{kind}">{text}'
