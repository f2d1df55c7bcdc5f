"""Cells (mean and spread) get the words of their lines and columns: a Table, which is one pivot in five forms."""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from .numbers import AVERAGE, PLACE
from .runs import BY_DATASET, NAMES, differences, rank

# the words of a line; the two headings of a column; what orders the columns, as the rest of PLACED orders the lines
LINE, PLACED = ["dataset", "shots", "trainer", "config"], ["place", "at", "row", "whose"]
LAYOUTS = {
    "list": ([*LINE, "seeds"], ["", "metric"], ["order"]),
    "paper": (["method", "seeds"], ["data set", "metric"], ["place", "order"]),
    "shots": (["dataset", "method", "seeds"], ["metric", "k-shot"], ["order", "at"]),
    "paired": ([*LINE, "seed"], ["", "metric"], ["order"]),
}
WIDTH, PAGE = 120, 150  # characters of a line where the output is no terminal, and of LaTeX's text of a line
LOWER = ("crossed", "ece")  # begin the names of metrics of which less is better
ON_PURPOSE = ("DATASET.", "few-shot", *BY_DATASET)  # begin facts in which data sets differ
BOLD = {"text": "{}*", "markdown": "**{}**", "latex": r"\textbf{{{}}}", "html": "<b>{}</b>"}
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$"}
LATEX |= {"±": r"$\pm$", "<": "$<$", ">": "$>$", **{sign: f"\\{sign}" for sign in "&%$#_{}"}}
ESCAPES = {"markdown": {"|": "\\|"}, "latex": LATEX, "html": {"&": "&amp;", "<": "&lt;", ">": "&gt;"}}


def with_words(cells: pd.DataFrame, runs: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """The cells of these metrics with the words of their lines and columns, and the numbers that order them."""
    groups = pd.concat([runs, runs.assign(dataset=AVERAGE)]).groupby(PLACE)
    words = groups[["method", "trainer", "backbone", "title", "source", "k"]].first()
    words["config"] = groups["config"].agg(lambda names: names.iloc[0] if names.nunique() == 1 else "(several)")
    cells = cells[cells["metric"].isin(metrics)].join(words, on=PLACE)
    datasets = sorted(cells["dataset"].unique(), key=lambda name: (name == AVERAGE, rank(NAMES["datasets"], name)))
    cells["data set"] = cells["dataset"].map(lambda name: NAMES["datasets"].get(name, name))
    cells["place"], cells["order"] = cells["dataset"].map(datasets.index), cells["metric"].map(metrics.index)
    return cells.assign(at=cells["shots"], shots=cells["k"], sign="", **{"": "", "k-shot": cells["k"] + "-shot"})


def footnotes(runs: pd.DataFrame) -> list[str]:
    """Why cells are empty, or how they were measured, where that is unusual."""
    parts = {*runs["parts"].explode()}
    notes = [f"{name}: {words}" for name, words in NAMES["reconstructions"].items() if name in parts]
    datasets = runs.groupby("shots")["dataset"].nunique()
    for (_, shots), members in runs.groupby(["row", "shots"]):
        about = [*members["notes"].explode().dropna()]
        seeds = members.groupby("dataset")["seed"].agg(frozenset)
        if len(seeds) < datasets[shots] or seeds.nunique() > 1:
            about.append("no average: not every seed has run on every data set")
        first, *others = members.drop_duplicates("dataset").itertuples()
        for other in others:
            if unlike := differences(other.facts, first.facts, ON_PURPOSE):
                about.append(f"on {other.dataset}, unlike {first.dataset}, {unlike}")
        notes += [f"{first.method}: {note}" for note in about]
    return [*dict.fromkeys(notes)]


def arrange(title: str, cells: pd.DataFrame, layout: str, notes: list[str]) -> "Table":
    """The table of these cells in a layout."""
    index, columns, order = LAYOUTS[layout]
    cells = cells.reset_index(drop=True)
    cells["line"] = cells.groupby([key for key in PLACED if key not in order]).ngroup()
    cells["column"] = cells.groupby(order).ngroup()
    counts = cells[cells["count"] > 0].groupby("line")["count"]
    seeds = counts.agg(lambda counts: "-".join(map(str, sorted({counts.min(), counts.max()}))))
    cells["seeds"] = cells["line"].map(seeds).fillna("")
    return Table(title, cells.assign(best=best(cells) & (layout in ("paper", "shots"))), index, columns, notes)


def best(cells: pd.DataFrame) -> pd.Series:
    """Whether a cell of ours holds the best value, as shown, of its column among the rows on its data set."""
    shown = cells["mean"].where(cells["whose"] == 0).round(2)
    shown = shown.where(~cells["metric"].str.startswith(LOWER), -shown)
    groups = shown.groupby([cells["dataset"], cells["column"]])
    return (shown == groups.transform("max")) & (groups.transform("count") > 1)


@dataclass
class Table:
    """`cells` has a line per cell: the words of its line and column, which `index` and `columns` name, and the numbers
    `line` and `column` that order them; mean, spread; `sign`, "+" where one is shown; whether it is the `best`."""

    title: str
    cells: pd.DataFrame
    index: list[str]
    columns: list[str]
    notes: list[str]

    def render(self, form: str) -> str:
        """As text, markdown, csv, latex or html."""
        if form == "csv":
            return self.csv()
        table, fixed = self.strings(form), len(self.index)
        room = {"text": shutil.get_terminal_size((WIDTH, 24)).columns, "latex": PAGE}.get(form, math.inf)
        parts = [table.iloc[:, part] for part in blocks(table, fixed, room)]
        title, *notes = (escaped(text, form) for text in [self.title, *self.notes])
        if form in ("text", "markdown"):
            lines = ("\n" if form == "text" else "  \n").join(notes)
            title = title if form == "text" else f"**{title}**"
            return "\n\n".join([title, *(grid(part, fixed, form) for part in parts), lines]).rstrip() + "\n"
        parts = [part if any(group for group, _ in part) else part.droplevel(0, axis=1) for part in parts]
        if form == "html":
            lines = "".join(f"<li>{note}</li>" for note in notes)
            text = parts[0].to_html(index=False, escape=False, border=0)
            return f'<h3>{title}</h3><div class="scroll">{text}</div><ul class="notes">{lines}</ul>'
        text = f"\\begin{{table*}}\n\\centering\\footnotesize\\setlength{{\\tabcolsep}}{{4pt}}\n\\caption{{{title}}}\n"
        for part in parts:
            sides = "l" * fixed + "r" * (part.shape[1] - fixed)
            text += part.to_latex(index=False, escape=False, column_format=sides, multicolumn_format="c")
            text += "\\par\\medskip\n"
        return text + "".join(f"\\par\\footnotesize {note}\n" for note in notes) + "\\end{table*}\n"

    def csv(self) -> str:
        """Numbers to four decimals, in two columns each: the value and its spread."""
        spreads = self.cells.assign(mean=self.cells["spread"], column=self.cells["column"] + 0.5)
        spreads[self.columns[1]] = spreads[self.columns[1]] + " ±"
        table = self.pivot(pd.concat([self.cells, spreads]).astype({"mean": float}), "mean")
        return table.set_axis(headings(table), axis=1).to_csv(index=False, float_format="%.4f")

    def strings(self, form: str) -> pd.DataFrame:
        """The whole table in words, "-" for what was not measured, the best values bold."""
        cells = self.cells
        means = [f"{mean:{sign}.2f}" for mean, sign in zip(cells["mean"], cells["sign"], strict=True)]
        text = pd.Series(means, cells.index).where(cells["mean"].notna(), "-")
        text += cells["spread"].map(" ± {:.2f}".format).where(cells["spread"].notna(), "")
        text = text.map(lambda words: escaped(words, form))
        words = cells[[*self.index, *self.columns]].map(escaped, form=form)
        text = text.where(~cells["best"], text.map(BOLD[form].format))
        return self.pivot(cells.assign(text=text, **words), "text").fillna("")

    def pivot(self, cells: pd.DataFrame, value: str) -> pd.DataFrame:
        """The words of lines, and these values of the cells below the two headings of each column."""
        table = cells.pivot(index=["line", *self.index], columns=["column", *self.columns], values=value)
        table = table.sort_index().sort_index(axis=1).droplevel("line").droplevel("column", axis=1)
        heads = pd.MultiIndex.from_tuples([("", name) for name in self.index])
        words = table.index.to_frame(index=False).set_axis(heads, axis=1)
        return pd.concat([words, table.reset_index(drop=True)], axis=1)


def blocks(table: pd.DataFrame, fixed: int, room: float) -> Iterator[list[int]]:
    """The columns of each block of a table, in which no line is longer than `room` characters. A block begins with the
    `fixed` words of the lines, and none divides the columns below one heading."""
    widths = [max(len(word) for word in [*name, *table[name]]) + 2 for name in table]
    groups = [[*same] for _, same in groupby(range(fixed, len(widths)), key=lambda i: table.columns[i][0] or i)]
    while groups:
        block = [*range(fixed), *groups.pop(0)]
        while groups and sum(widths[i] for i in block + groups[0]) <= room:
            block += groups.pop(0)
        yield block


def headings(table: pd.DataFrame) -> list[str]:
    return [f"{group} {name}".strip() for group, name in table]


def grid(table: pd.DataFrame, fixed: int, form: str) -> str:
    """Aligned columns, the first `fixed` of them to the left. In text a heading of several columns stands once."""
    heads, groups = headings(table), [group for group, _ in table]
    if form == "text" and any(groups):
        heads = [f"{group * (group != left)}\n{name}" for left, (group, name) in zip(["", *groups], table)]
    sides = ["left"] * fixed + ["right"] * (len(heads) - fixed)
    setting = {"tablefmt": "simple" if form == "text" else "pipe", "colalign": sides, "disable_numparse": True}
    return table.set_axis(range(len(heads)), axis=1).to_markdown(index=False, headers=heads, **setting)


def escaped(text: str, form: str) -> str:
    return str(text).translate(str.maketrans(ESCAPES.get(form, {})))
