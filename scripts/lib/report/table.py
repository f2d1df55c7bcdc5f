"""A Table and its forms: text, Markdown, CSV, LaTeX (page.py has HTML)."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby

from .stats import Cell


@dataclass(frozen=True)
class Column:
    title: str
    group: str = ""  # a heading over neighbouring columns
    number: bool = True  # in CSV it takes two columns, value and spread

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
    task: str = ""
    aside: bool = False  # stands folded on a page

    def marks(self) -> dict[str, int]:
        """Footnotes of cells -> their numbers, in order of appearance."""
        notes = (item.note for row in self.rows if row for item in row if isinstance(item, Cell) and item.note)
        return {note: number for number, note in enumerate(dict.fromkeys(notes), 1)}

    def footnotes(self) -> list[str]:
        return [f"[{number}] {note}" for note, number in self.marks().items()] + self.notes

    def texts(self) -> list:
        """The rows, all cells as text."""
        marks = self.marks()

        def show(item) -> str:
            if not isinstance(item, Cell):
                return item or ""
            return item.text(self.digits) + (f" [{marks[item.note]}]" if item.note else "")

        return [row and [show(item) for item in row] for row in self.rows]

    def headings(self) -> Iterator[tuple[str, list[int]]]:
        """(heading, the columns below it), from left to right; columns without a heading have ""."""
        for group, members in groupby(range(len(self.columns)), key=lambda i: self.columns[i].group):
            yield group, list(members)


def to_text(table: Table) -> str:
    rows, titles = table.texts(), [column.title for column in table.columns]
    widths = [max(len(row[i]) for row in [titles, *filter(None, rows)]) for i in range(len(titles))]
    heading = []
    for group, members in table.headings():
        width = sum(widths[i] for i in members) + 2 * (len(members) - 1)
        widths[members[-1]] += max(len(group) - width, 0)
        heading.append(group.center(max(len(group), width)))

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, table.columns, strict=True)
        return "  ".join(t.rjust(w) if column.number else t.ljust(w) for t, w, column in cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    heading = ["  ".join(heading).rstrip()] if any(column.group for column in table.columns) else []
    body = [rule if row is None else line(row) for row in rows]
    return "\n".join([table.title, rule, *heading, line(titles), rule, *body, rule, *table.footnotes()])


def to_markdown(table: Table) -> str:
    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in row) + " |"

    titles = [column.full_title for column in table.columns]
    rule = "|" + "|".join("---:" if column.number else "---" for column in table.columns) + "|"
    parts = [f"**{table.title}**", "\n".join([line(titles), rule, *map(line, filter(None, table.texts()))])]
    return "\n\n".join(parts + ["  \n".join(table.footnotes())] * bool(table.footnotes()))


def to_csv(table: Table) -> str:
    """Numbers to four decimals, in two columns each: the value and its spread."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    titles = ([c.full_title, f"{c.full_title} ±"] if c.number else [c.full_title] for c in table.columns)
    writer.writerow(chain(*titles))
    for row in filter(None, table.rows):
        cells = []
        for item, column in zip(row, table.columns, strict=True):
            cell = item if isinstance(item, Cell) else Cell(words=item or "")
            numbers = ["" if value is None else f"{value:.4f}" for value in (cell.mean, cell.spread)]
            cells += numbers if column.number else [cell.words]
        writer.writerow(cells)
    return out.getvalue().rstrip("\n")


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "<": r"$<$"}
_LATEX |= {">": r"$>$", "^": r"\textasciicircum{}", "±": r"$\pm$", "Δ": r"$\Delta$", "−": "$-$"}


def to_latex(table: Table) -> str:
    r"""A table for \usepackage{booktabs}; footnotes stand below it."""

    def escaped(text: str) -> str:
        indent = r"\quad " if text.startswith("  ") else ""
        return indent + "".join(_LATEX.get(character, character) for character in text.strip())

    def line(row: Sequence[str]) -> str:
        return " & ".join(row) + r" \\"

    heading, rules = [], []
    for group, members in table.headings():
        if group:
            heading.append(rf"\multicolumn{{{len(members)}}}{{c}}{{{escaped(group)}}}")
            rules.append(rf"\cmidrule(lr){{{members[0] + 1}-{members[-1] + 1}}}")
        else:
            heading += [""] * len(members)
    titles = line([escaped(column.title) for column in table.columns])
    rows = [r"\midrule" if row is None else line([escaped(text) for text in row]) for row in table.texts()]
    notes = [rf"\\ \footnotesize {escaped(note)}" for note in table.footnotes()]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(table.title)}}}",
            rf"\begin{{tabular}}{{{''.join('r' if column.number else 'l' for column in table.columns)}}}",
            *([r"\toprule", line(heading), " ".join(rules)] if rules else [r"\toprule"]),
            *(titles, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}", *notes, r"\end{table}"),
        ]
    )


FORMS = {"text": to_text, "markdown": to_markdown, "csv": to_csv, "latex": to_latex}


def render(tables: Sequence[Table], form: str) -> str:
    if form == "csv" and len(tables) > 1:
        return "\n\n".join(f"# {table.title}\n{to_csv(table)}" for table in tables)
    return "\n\n".join(FORMS[form](table) for table in tables)
