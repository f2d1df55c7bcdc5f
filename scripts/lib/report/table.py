"""Cells (mean, spread, note) get the words of their lines and columns: a Table, which is one pivot in five forms."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from itertools import groupby

import pandas as pd

from .runs import AVERAGE, H_OF, NAMES, PLACE, differing, group_runs, rank, shots_word
from .variants import BY_DATASET, describe

# the words of a line; the words of a column; what numbers the lines; what numbers the columns
RUN = ["dataset", "shots", "trainer", "config", "seeds"]
LAYOUTS = {
    "list": (RUN, ["metric"], ["place", "at", "row"], ["whose", "order"]),
    "paper": (["method"], ["data set", "metric"], ["row", "whose"], ["place", "order"]),
    "shots": (["dataset", "method", "config", "seeds"], ["of", "shots"], ["place", "row"], ["at"]),
    "targets": (["method", "seeds"], ["data set"], ["row", "whose"], ["place"]),
    "variants": (["variant", "options", "seeds"], ["data set", "metric"], ["row", "whose"], ["place", "order"]),
    "beside": (["method", "data set", "seeds"], ["metric", "of"], ["row", "place"], ["order", "whose"]),
    "paired": ([*RUN[:2], "difference", "config", "seed"], ["metric"], ["place", "at", "row", "turn"], ["order"]),
}
FORMS = ("text", "markdown", "csv", "latex", "html")
WIDTH = 120  # characters, where the output is no terminal
LOWER = ("crossed", "ece")  # begin the names of metrics of which less is better
BOLD = {"text": "{}*", "markdown": "**{}**", "latex": r"\textbf{{{}}}", "html": "<b>{}</b>"}
NOTE = {"text": " [{}]", "markdown": " [{}]", "latex": "$^{{{}}}$", "html": "<sup>{}</sup>"}
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$"}
LATEX |= {"Δ": r"$\Delta$", "<": "$<$", ">": "$>$", **{sign: f"\\{sign}" for sign in "&%$#_{}"}}


def with_words(cells: pd.DataFrame, rows: list[dict], runs: list[dict], metrics: list[str]) -> pd.DataFrame:
    """Those of these metrics, with the words of their lines and columns, the numbers that order them, and notes."""
    cells = cells[cells["metric"].isin(metrics)].reset_index(drop=True)
    members, words = group_runs(runs, *PLACE), []
    datasets = sorted({run["dataset"] for run in runs}, key=lambda name: rank(NAMES["datasets"], name))
    for cell in cells.itertuples():
        places = [cell.dataset]
        if cell.dataset == AVERAGE:
            places = [name for name in datasets if any((i, cell.shots, name) in members for i in range(len(rows)))]
        here = [members.get((cell.row, cell.shots, place), []) for place in places]
        configs = {run["config"] for found in here for run in found}
        line = {"places": places, "place": [*datasets, AVERAGE].index(cell.dataset), "at": cell.shots, "whose": 0}
        line |= {"order": metrics.index(cell.metric), "note": note_of(cell, places, here), "plus": False, "of": "shots"}
        line |= {"data set": NAMES["datasets"].get(cell.dataset, cell.dataset), "shots": shots_word(cell.shots)}
        line |= {"least": min(len(found) for found in here if found), "most": max(map(len, here))}
        line["config"] = configs.pop() if len(configs) == 1 else "(several)"
        words.append({**rows[cell.row], **line})
    return cells.drop(columns="shots").join(pd.DataFrame(words))


def note_of(cell, places: list[str], here: list[list[dict]]) -> str:
    """Why a cell is empty, of which seeds it is, or how it was measured, where that is unusual."""
    runs = [run for found in here for run in found]
    known = {*runs[0]["values"]}
    parts = next((two for name, *two in H_OF if name == cell.metric and known & {*two}), [cell.metric])
    notes = list(dict.fromkeys(run["notes"][n] for run in runs for n in (cell.metric, *parts) if n in run["notes"]))
    if len(places) > 1 and cell.count == 0:
        missing = [place for place, found in zip(places, here, strict=True) if not found]
        if missing:
            return f"no average: not run on {', '.join(missing)}"
        if len({frozenset(run["seed"] for run in found) for found in here}) > 1:
            return "no average: its data sets have different seeds"
    elif len(places) > 1:
        first = [found[0] for found in here]
        keys = {key for key in differing(first) if not key.startswith(("DATASET.", "RUN.", "few-shot", *BY_DATASET))}
        notes += [f"data sets differ in {describe(first, keys, 'dataset')}"] if keys else []
    elif 0 < cell.count < len(runs):
        seeds = [str(run["seed"]) for run in runs if {*parts} <= {*run["values"]}]
        notes.insert(0, f"{cell.metric} of seed {', '.join(sorted(seeds))} only")
    return "; ".join(notes)


def arrange(title: str, cells: pd.DataFrame, layout: str, notes: list[str], digits: int = 2, name: str = "") -> "Table":
    """The table of these cells in a layout; rows of several backbones name theirs."""
    index, columns, lines, order = LAYOUTS[layout]
    if "metric" not in columns and cells["metric"].nunique() > 1:
        columns, order = [columns[-1], "metric"], [*order, "order"]
    cells = cells.reset_index(drop=True)
    cells = cells.assign(line=cells.groupby(lines).ngroup(), column=cells.groupby(order).ngroup())
    by_line = cells.groupby("line")
    least, most = (by_line[name].transform(how).astype(str) for name, how in (("least", "min"), ("most", "max")))
    cells["seeds"] = least.where(least == most, least + "-" + most)
    cells["config"] = cells["config"].where(by_line["config"].transform("nunique") == 1, "(several)")
    ours = cells["whose"] == 0
    if "whose" in lines:
        cells.loc[~ours, ["seeds", "config", "options"]] = ""
    if cells["backbone"].nunique() > 1:
        place = [*index, "seeds"].index("seeds")
        index = [*index[:place], "backbone", *index[place:]]
    compared = ours & (layout not in ("list", "beside", "paired"))
    cells["block"] = (cells["backbone"] + (cells["dataset"] if "dataset" in index else "")).where(compared, "")
    return Table(title, cells, index, columns, notes, digits, name)


@dataclass
class Table:
    """`cells` has a line per cell: the words of its line and column, which `index` and `columns` name, and the numbers
    `line` and `column` that order them; mean, spread, note; `plus`, True where a sign is shown; `block`,
    within which values are compared ("" where they are not); `line_note`, a note to the words of the line."""

    title: str
    cells: pd.DataFrame
    index: list[str]
    columns: list[str]
    footnotes: list[str] = field(default_factory=list)
    digits: int = 2
    name: str = ""  # of its chart; "" for none

    def render(self, form: str) -> str:
        """As text, markdown, csv, latex or html."""
        if form == "csv":
            return self.csv()
        table, notes = self.strings(form)
        title, fixed = escaped(self.title, form), len(self.index)
        if form == "text":
            return "\n\n".join([title, *blocks(table, fixed), "\n".join(notes)]).rstrip() + "\n"
        if form == "html":
            lines = "".join(f"<li>{note}</li>" for note in notes)
            text = table.to_html(index=False, escape=False, border=0)
            return f'<h3>{title}</h3><div class="scroll">{text}</div><ul class="notes">{lines}</ul>'
        sides = ["left"] * fixed + ["right"] * (table.shape[1] - fixed)
        if form == "markdown":
            heads = [" ".join(filter(None, words)) for words in table]
            table = table.map(lambda text: text.replace("|", "\\|"))
            text = table.to_markdown(index=False, headers=heads, colalign=sides, disable_numparse=True)
            return "\n\n".join([f"**{title}**", text, "  \n".join(notes)]).rstrip() + "\n"
        if not any(group for group, _ in table):
            table = table.droplevel(0, axis=1)
        letters = "".join(side[0] for side in sides)
        text = table.to_latex(index=False, escape=False, column_format=letters, multicolumn_format="c")
        below = "".join(f"\\par\\footnotesize {note}\n" for note in notes)
        return f"\\begin{{table}}\n\\centering\n\\caption{{{title}}}\n{text}{below}\\end{{table}}\n"

    def pivot(self, value: str) -> pd.DataFrame:
        """[line, *index] x columns."""
        table = self.cells.pivot(index=["line", *self.index], columns=["column", *self.columns], values=value)
        table = table.sort_index(level="line", sort_remaining=False)
        return table.sort_index(axis=1, level="column", sort_remaining=False).droplevel("column", axis=1)

    def csv(self) -> str:
        """Numbers to four decimals, in two columns each: the value and its spread."""
        tables = {"": self.pivot("mean").astype(float), " ±": self.pivot("spread").astype(float)}
        titles = [" ".join(filter(None, name)) if isinstance(name, tuple) else name for name in tables[""]]
        pairs = {f"{title}{sign}": tables[sign].iloc[:, i] for i, title in enumerate(titles) for sign in tables}
        return pd.DataFrame(pairs).droplevel("line").reset_index().to_csv(index=False, float_format="%.4f")

    def strings(self, form: str) -> tuple[pd.DataFrame, list[str]]:
        """(all words below two levels of headings, the footnotes); notes are numbered in the order of reading."""
        marks: dict[str, int] = {}
        best, texts, first = self.best(), {}, {}

        def mark(note: str) -> str:
            return NOTE[form].format(marks.setdefault(note, len(marks) + 1)) if note else ""

        for cell in self.cells.sort_values(["line", "column"]).itertuples():
            first.setdefault(cell.line, mark(cell.line_note))
            text = "-" * bool(cell.note)
            if pd.notna(cell.mean):
                text = f"{cell.mean:{'+' * cell.plus}.{self.digits}f}"
                text += f" ± {cell.spread:.{self.digits}f}" if pd.notna(cell.spread) else ""
            text = BOLD[form].format(escaped(text, form)) if cell.Index in best else escaped(text, form)
            texts[cell.Index] = text + mark(cell.note)
        table = Table("", self.cells.assign(text=pd.Series(texts)), self.index, self.columns).pivot("text").fillna("")
        words = table.index.to_frame(index=False).astype(str)
        name = next(name for name in ("method", "variant", "trainer", "difference") if name in words)
        words[name] += words.pop("line").astype(int).map(first)
        names = [name if isinstance(name, tuple) else ("", name) for name in table]
        table = pd.concat([words.map(escaped, form=form), table.reset_index(drop=True)], axis=1)
        table.columns = pd.MultiIndex.from_tuples([("", name) for name in words] + names)
        notes = [f"[{number}] {note}" for note, number in marks.items()] + self.footnotes
        return table.rename(columns=lambda name: escaped(name, form)), [escaped(note, form) for note in notes]

    def best(self) -> set:
        """The cells that hold the best value, as shown, of their column among the lines that are compared."""
        known, found = self.cells[(self.cells["block"] != "") & self.cells["mean"].notna()], set()
        for _, group in known.groupby(["block", "column"]):
            shown = group["mean"].round(self.digits)
            best = shown.min() if group["metric"].iloc[0].startswith(LOWER) else shown.max()
            found |= {*shown.index[shown == best]} if len(shown) > 1 else set()
        return found


def blocks(table: pd.DataFrame, fixed: int) -> Iterator[str]:
    """The text of a table, in blocks that fit the terminal; each begins with the first `fixed` columns."""
    width = [max(len(part) for part in [*name, *table[name]]) + 2 for name in table]
    heading = table.columns.get_level_values(0)
    groups = [list(same) for _, same in groupby(range(fixed, len(width)), key=lambda i: heading[i] or i)]
    room = shutil.get_terminal_size((WIDTH, 24)).columns - sum(width[:fixed])
    while groups:
        shown = groups.pop(0)
        while groups and sum(width[i] for i in shown + groups[0]) <= room:
            shown = shown + groups.pop(0)
        part = table.iloc[:, [*range(fixed), *shown]].set_axis(range(fixed + len(shown)), axis=1)
        heads = [table.columns[i][1] for i in (*range(fixed), *shown)]
        if any(heading):  # a line above, over the first column of each group
            above = ["", *(heading[i] for i in (*range(fixed), *shown))]
            heads = [f"{name * (name != before)}\n{head}" for before, name, head in zip(above, above[1:], heads)]
        sides = ["left"] * fixed + ["right"] * len(shown)
        yield part.to_markdown(index=False, headers=heads, tablefmt="simple", colalign=sides, disable_numparse=True)


def escaped(text: str, form: str) -> str:
    if form == "latex":
        return r"\quad " * text.startswith("  ") + "".join(LATEX.get(sign, sign) for sign in text.strip())
    return escape(text) if form == "html" else text
