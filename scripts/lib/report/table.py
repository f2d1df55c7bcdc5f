"""Cells (mean and spread) get the words of their lines and columns: a Table, which is one pivot in five forms."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import pandas as pd

from .runs import AVERAGE, BY_DATASET, COST, NAMES, PLACE, differences, facts_frame, one_of, rank, shots_word

# the words of a line; the two headings of a column; what numbers the lines; what numbers the columns
LINE = ["dataset", "shots", "trainer", "config"]
LAYOUTS = {
    "list": ([*LINE, "seeds"], ["of", "metric"], ["place", "at", "row", "whose"], ["order"]),
    "beside": (["data set", "shots", "method", "seeds"], ["metric", "of"], ["place", "at", "row"], ["order", "whose"]),
    "paper": (["method", "options", "seeds"], ["data set", "metric"], ["row", "whose"], ["place", "order"]),
    "shots": (["dataset", "method", "seeds"], ["metric", "k-shot"], ["place", "row", "whose"], ["order", "at"]),
    "paired": ([*LINE, "seed"], ["of", "metric"], ["place", "at", "row", "turn"], ["order"]),
}
FORMS = ("text", "markdown", "csv", "latex", "html")
WIDTH = 120  # characters, where the output is no terminal
LOWER = ("crossed", "ece")  # begin the names of metrics of which less is better
ON_PURPOSE = ("DATASET.", "RUN.", "few-shot", *BY_DATASET)  # begin facts in which data sets differ
BOLD = {"text": "{}*", "markdown": "**{}**", "latex": r"\textbf{{{}}}", "html": "<b>{}</b>"}
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$"}
LATEX |= {"<": "$<$", ">": "$>$", **{sign: f"\\{sign}" for sign in "&%$#_{}"}}
HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
ESCAPES = {"text": {}, "markdown": {"|": "\\|"}, "latex": LATEX, "html": HTML}


def with_words(cells: pd.DataFrame, runs: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Those of these metrics, with the words of their lines and columns, and the numbers that order them."""
    cells = cells[cells["metric"].isin(metrics)].reset_index(drop=True)
    datasets = [*sorted(runs["dataset"].unique(), key=lambda name: rank(NAMES["datasets"], name)), AVERAGE]
    groups = pd.concat([runs, runs.assign(dataset=AVERAGE)]).groupby(PLACE)
    words = groups[["method", "trainer", "options", "backbone", "title", "source"]].first()
    cells = cells.join(words.assign(config=groups["config"].agg(one_of)), on=PLACE)
    present = runs.groupby("shots")["dataset"].unique()
    places = [[*present[cell.shots]] if cell.dataset == AVERAGE else [cell.dataset] for cell in cells.itertuples()]
    cells = cells.assign(places=places, at=cells["shots"], whose=0, plus=False, of="")
    cells["place"], cells["order"] = cells["dataset"].map(datasets.index), cells["metric"].map(metrics.index)
    cells["data set"] = cells["dataset"].map(lambda name: NAMES["datasets"].get(name, name))
    cells["shots"] = cells["shots"].map(shots_word)
    return cells.assign(**{"k-shot": cells["shots"] + "-shot"})


def footnotes(runs: pd.DataFrame) -> list[str]:
    """Why cells are empty, of which seeds they are, or how they were measured, where that is unusual."""
    parts = {*runs["parts"].explode()}
    notes = [f"{name}: {words}" for name, words in NAMES["reconstructions"].items() if name in parts]
    for (_, shots), members in runs.groupby(["row", "shots"]):
        method = members["method"].iloc[0]
        measured, reasons = {name for names in members["metrics"] for name in names if not name.startswith(COST)}, {}
        for run in members.itertuples():
            lacking = dict.fromkeys(measured - {*run.metrics}, f"not measured by seed {run.seed} on {run.dataset}")
            for metric, reason in {**lacking, **run.notes}.items():
                reasons.setdefault(reason, []).append(metric)
        found = [f"{', '.join(sorted({*metrics}))}: {reason}" for reason, metrics in reasons.items()]
        found += [note for note in members["note"] if note]
        missing = {*runs["dataset"][runs["shots"] == shots]} - {*members["dataset"]}
        if missing:
            found.append(f"no average: not run on {', '.join(sorted(missing))}")
        elif members.groupby("dataset")["seed"].agg(frozenset).nunique() > 1:
            found.append("no average: its data sets have different seeds")
        facts = facts_frame(members.drop_duplicates("dataset").set_index("dataset")).to_dict("index")
        first = next(iter(facts))
        for dataset in facts:
            if unlike := differences(facts[dataset], facts[first], without=ON_PURPOSE):
                found.append(f"on {dataset}, unlike {first}, {unlike}")
        notes += [f"{method}: {note}" for note in found]
    return [*dict.fromkeys(notes)]


def arrange(title: str, cells: pd.DataFrame, layout: str, notes: list[str]) -> "Table":
    """The table of these cells in a layout; rows of several backbones name theirs."""
    index, columns, lines, order = LAYOUTS[layout]
    cells = cells.reset_index(drop=True)
    cells = cells.assign(line=cells.groupby(lines).ngroup(), column=cells.groupby(order).ngroup())
    counts = cells[cells["count"] > 0].groupby("line")["count"]
    seeds = {line: "-".join(map(str, sorted({count.min(), count.max()}))) for line, count in counts}
    cells["seeds"] = cells["line"].map(lambda line: seeds.get(line, ""))
    cells["config"] = cells.groupby("line")["config"].transform(one_of)
    index = [word for word in index if word != "options" or cells["options"].any()]
    if cells["backbone"].nunique() > 1:
        index = [*index[:-1], "backbone", index[-1]]
    compared = (cells["whose"] == 0) & (layout in ("paper", "shots"))
    cells["block"] = (cells["backbone"] + (cells["dataset"] if "dataset" in index else "")).where(compared, "")
    return Table(title, cells, index, columns, notes)


@dataclass
class Table:
    """`cells` has a line per cell: the words of its line and column, which `index` and `columns` name, and the numbers
    `line` and `column` that order them; mean, spread; `plus`, True where a sign is shown; `block`, within which values
    are compared ("" where they are not)."""

    title: str
    cells: pd.DataFrame
    index: list[str]
    columns: list[str]
    notes: list[str] = field(default_factory=list)

    def render(self, form: str) -> str:
        """As text, markdown, csv, latex or html."""
        if form == "csv":
            return self.csv()
        table, fixed = self.strings(form), len(self.index)
        title, *notes = (escaped(text, form) for text in [self.title, *self.notes])
        if form == "text":
            return "\n\n".join([title, *blocks(table, fixed), "\n".join(notes)]).rstrip() + "\n"
        if form == "markdown":
            return "\n\n".join([f"**{title}**", grid(table, fixed, "pipe"), "  \n".join(notes)]).rstrip() + "\n"
        if not any(group for group, _ in table):
            table = table.droplevel(0, axis=1)
        if form == "html":
            lines = "".join(f"<li>{note}</li>" for note in notes)
            text = table.to_html(index=False, escape=False, border=0)
            return f'<h3>{title}</h3><div class="scroll">{text}</div><ul class="notes">{lines}</ul>'
        letters = "l" * fixed + "r" * (table.shape[1] - fixed)
        text = table.to_latex(index=False, escape=False, column_format=letters, multicolumn_format="c")
        below = "".join(f"\\par\\footnotesize {note}\n" for note in notes)
        return f"\\begin{{table}}\n\\centering\n\\caption{{{title}}}\n{text}{below}\\end{{table}}\n"

    def csv(self) -> str:
        """Numbers to four decimals, in two columns each: the value and its spread."""
        spreads = self.cells.assign(mean=self.cells["spread"], column=self.cells["column"] + 0.5)
        spreads[self.columns[1]] = spreads[self.columns[1]].astype(str) + " ±"
        table = self.pivot(pd.concat([self.cells, spreads]).astype({"mean": float}), "mean")
        heads = [f"{group} {name}".strip() for group, name in table]
        return table.set_axis(heads, axis=1).to_csv(index=False, float_format="%.4f")

    def pivot(self, cells: pd.DataFrame, value: str) -> pd.DataFrame:
        """The words of lines, and these values of the cells below the two headings of each column."""
        table = cells.pivot(index=["line", *self.index], columns=["column", *self.columns], values=value)
        table = table.sort_index().sort_index(axis=1).droplevel("line").droplevel("column", axis=1)
        names = pd.MultiIndex.from_tuples([("", name) for name in self.index])
        return pd.concat(
            [table.index.to_frame(index=False).set_axis(names, axis=1), table.reset_index(drop=True)], axis=1
        )

    def strings(self, form: str) -> pd.DataFrame:
        """The whole table in words, "-" for what was not measured, the best values bold."""
        texts, best = [], self.best()
        for cell in self.cells.itertuples():
            text = f"{cell.mean:{'+' * cell.plus}.2f}" if pd.notna(cell.mean) else "-"
            text = escaped(text + (f" ± {cell.spread:.2f}" if pd.notna(cell.spread) else ""), form)
            texts.append(BOLD[form].format(text) if cell.Index in best else text)
        words = self.cells[[*self.index, *self.columns]].map(escaped, form=form)
        return self.pivot(self.cells.assign(text=texts, **words), "text").fillna("")

    def best(self) -> set:
        """The cells that hold the best value, as shown, of their column among the lines that are compared."""
        known = self.cells[self.cells["block"] != ""].dropna(subset="mean")
        shown = known["mean"].round(2)
        shown = shown.where(~known["metric"].str.startswith(LOWER), -shown)
        groups = shown.groupby([known["block"], known["column"]])
        return {*shown.index[(shown == groups.transform("max")) & (groups.transform("size") > 1)]}


def blocks(table: pd.DataFrame, fixed: int) -> Iterator[str]:
    """The text of a table, in blocks that fit the terminal; each begins with the first `fixed` columns, and none
    divides the columns below one heading."""
    width = [max(len(part) for part in [*name, *table[name]]) + 2 for name in table]
    groups = [list(same) for _, same in groupby(range(fixed, len(width)), key=lambda i: table.columns[i][0] or i)]
    room = shutil.get_terminal_size((WIDTH, 24)).columns - sum(width[:fixed])
    while groups:
        shown = groups.pop(0)
        while groups and sum(width[i] for i in shown + groups[0]) <= room:
            shown = shown + groups.pop(0)
        yield grid(table.iloc[:, [*range(fixed), *shown]], fixed, "simple")


def grid(table: pd.DataFrame, fixed: int, form: str) -> str:
    """Aligned columns, the first `fixed` of them to the left. In text a heading of several columns stands once."""
    groups, names = zip(*table, strict=True)
    heads = [f"{group} {name}".strip() for group, name in table]
    if form == "simple" and any(groups):
        heads = [f"{group * (group != before)}\n{name}" for before, group, name in zip(("", *groups), groups, names)]
    sides = ["left"] * fixed + ["right"] * (table.shape[1] - fixed)
    table = table.set_axis(range(table.shape[1]), axis=1)
    return table.to_markdown(index=False, headers=heads, tablefmt=form, colalign=sides, disable_numparse=True)


def escaped(text: str, form: str) -> str:
    return str(text).translate(str.maketrans(ESCAPES[form]))
