"""A Table and its three forms: text, Markdown, CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from .stats import Cell


@dataclass(frozen=True)
class Column:
    title: str
    group: str = ""  # a heading over neighbouring columns
    number: bool = True  # holds Cells; in CSV it takes two columns, value and spread

    @property
    def full_title(self) -> str:
        return f"{self.group} {self.title}".strip()


@dataclass
class Table:
    """Rows hold a str or a Cell for each column; None is an empty cell. A row may be None: a rule."""

    title: str
    columns: Sequence[Column]
    rows: list = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # general ones, printed below the footnotes of cells
    digits: int = 2

    def texts(self) -> tuple[list, list[str]]:
        """All cells as text, notes replaced by their numbers, and the footnotes in that order."""
        footnotes: list[str] = []

        def show(item) -> str:
            if item is None:
                return ""
            if isinstance(item, str):
                return item
            if item.note and item.note not in footnotes:
                footnotes.append(item.note)
            mark = f" [{footnotes.index(item.note) + 1}]" if item.note else ""
            return item.text(self.digits) + mark

        rows = [row if row is None else [show(item) for item in row] for row in self.rows]
        return rows, [f"[{i}] {note}" for i, note in enumerate(footnotes, 1)] + self.notes


def to_text(table: Table) -> str:
    rows, notes = table.texts()
    titles = [column.title for column in table.columns]
    widths = [max(len(row[i]) for row in [titles, *filter(None, rows)]) for i in range(len(titles))]
    heading = _headings(table.columns, widths)

    def line(row: Sequence[str]) -> str:
        cells = (
            text.rjust(width) if column.number else text.ljust(width)
            for text, width, column in zip(row, widths, table.columns, strict=True)
        )
        return "  ".join(cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    body = [rule if row is None else line(row) for row in rows]
    return "\n".join([table.title, rule, *heading, line(titles), rule, *body, rule, *notes])


def _headings(columns: Sequence[Column], widths: list[int]) -> list[str]:
    """The line of group headings, each centred over its columns; widens the last column of a too narrow group."""
    if not any(column.group for column in columns):
        return []
    parts = []
    for group, members in groupby(range(len(columns)), key=lambda i: columns[i].group):
        members = list(members)
        lack = len(group) - (sum(widths[i] for i in members) + 2 * (len(members) - 1))
        widths[members[-1]] += max(lack, 0)
        parts.append(group.center(sum(widths[i] for i in members) + 2 * (len(members) - 1)))
    return ["  ".join(parts).rstrip()]


def to_markdown(table: Table) -> str:
    rows, notes = table.texts()

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in row) + " |"

    titles = [column.full_title for column in table.columns]
    rule = "|" + "|".join("---:" if column.number else "---" for column in table.columns) + "|"
    body = [line(row) for row in rows if row is not None]
    parts = [f"**{table.title}**", "\n".join([line(titles), rule, *body])]
    return "\n\n".join(parts + ["  \n".join(notes)] * bool(notes))


def to_csv(table: Table) -> str:
    """Numbers to four decimals, in two columns each: the value and its spread."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    titles = []
    for column in table.columns:
        titles += [column.full_title, f"{column.full_title} ±"] if column.number else [column.full_title]
    writer.writerow(titles)
    for row in filter(None, table.rows):
        cells = []
        for item, column in zip(row, table.columns, strict=True):
            if not column.number:
                cells.append(item or "")
            elif isinstance(item, Cell) and item.mean is not None:
                cells += [f"{item.mean:.4f}", "" if item.spread is None else f"{item.spread:.4f}"]
            else:
                cells += [item if isinstance(item, str) else "", ""]
        writer.writerow(cells)
    return out.getvalue().rstrip("\n")


def render(tables: Sequence[Table], form: str) -> str:
    if form == "csv":
        if len(tables) == 1:
            return to_csv(tables[0])
        return "\n\n".join(f"# {table.title}\n{to_csv(table)}" for table in tables)
    return "\n\n".join({"text": to_text, "markdown": to_markdown}[form](table) for table in tables)
