"""Cells (mean and spread) get the words of their lines and columns: a Table, which is one pivot in five forms."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import pandas as pd

from .runs import AVERAGE, BY_DATASET, COST, NAMES, PLACE, differences, facts_frame, rank

# the words of a line; the two headings of a column; what orders the lines; what orders the columns
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
LATEX_WIDTH = 122  # characters in footnotesize on a page with margins of 2 cm
LOWER = ("crossed", "ece")  # begin the names of metrics of which less is better
ON_PURPOSE = ("DATASET.", "RUN.", "few-shot", *BY_DATASET)  # begin facts in which data sets differ
BOLD = {"text": "{}*", "markdown": "**{}**", "latex": r"\textbf{{{}}}", "html": "<b>{}</b>"}
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$"}
LATEX |= {"±": r"$\pm$", "<": "$<$", ">": "$>$", **{sign: f"\\{sign}" for sign in "&%$#_{}"}}
ESCAPES = {"markdown": {"|": "\\|"}, "latex": LATEX, "html": {"&": "&amp;", "<": "&lt;", ">": "&gt;"}}


def with_words(cells: pd.DataFrame, runs: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Those of these metrics, with the words of their lines and columns, and the values that order them."""
    groups = pd.concat([runs, runs.assign(dataset=AVERAGE)]).groupby(PLACE)
    words = groups[["method", "trainer", "options", "backbone", "title", "source"]].first()
    words["config"] = groups["config"].agg(one_of)
    cells = cells[cells["metric"].isin(metrics)].join(words, on=PLACE).reset_index(drop=True)
    cells = cells.assign(at=cells["shots"], whose=0, plus=False, of="")
    cells["place"] = cells["dataset"].map(lambda name: (name == AVERAGE, rank(NAMES["datasets"], name)))
    cells["order"] = cells["metric"].map(metrics.index)
    cells["data set"] = cells["dataset"].map(lambda name: NAMES["datasets"].get(name, name))
    cells["shots"] = cells["shots"].astype(str).where(cells["shots"] > 0, "all")
    return cells.assign(**{"k-shot": cells["shots"] + "-shot"})


def one_of(words: pd.Series) -> str:
    return words.iloc[0] if words.nunique() == 1 else "(several)"


def footnotes(runs: pd.DataFrame) -> list[str]:
    """Why cells are empty, of which seeds they are, or how they were measured, where that is unusual."""
    parts = {*runs["parts"].explode()}
    notes = [f"{name}: {words}" for name, words in NAMES["reconstructions"].items() if name in parts]
    for (_, shots), members in runs.groupby(["row", "shots"]):
        reasons = {}
        measured = {name for names in members["metrics"] for name in names if not name.startswith(COST)}
        for run in members[["seed", "dataset", "metrics", "notes"]].itertuples():
            lacking = dict.fromkeys(measured - {*run.metrics}, f"not measured by seed {run.seed} on {run.dataset}")
            for metric, reason in {**lacking, **run.notes}.items():
                reasons.setdefault(reason, set()).add(metric)
        about = [f"{', '.join(sorted(metrics))}: {reason}" for reason, metrics in reasons.items()]
        about += [note for note in members["note"] if note]
        missing = {*runs["dataset"][runs["shots"] == shots]} - {*members["dataset"]}
        if missing:
            about.append(f"no average: not run on {', '.join(sorted(missing))}")
        elif members.groupby("dataset")["seed"].agg(frozenset).nunique() > 1:
            about.append("no average: its data sets have different seeds")
        facts = facts_frame(members.drop_duplicates("dataset").set_index("dataset")).to_dict("index")
        first = members["dataset"].iloc[0]
        for dataset in facts:
            if unlike := differences(facts[dataset], facts[first], without=ON_PURPOSE):
                about.append(f"on {dataset}, unlike {first}, {unlike}")
        notes += [f"{members['method'].iloc[0]}: {note}" for note in about]
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
            room = shutil.get_terminal_size((WIDTH, 24)).columns
            grids = [grid(table.iloc[:, part], fixed, "simple") for part in self.parts(room)]
            return "\n\n".join([title, *grids, "\n".join(notes)]).rstrip() + "\n"
        if form == "markdown":
            return "\n\n".join([f"**{title}**", grid(table, fixed, "pipe"), "  \n".join(notes)]).rstrip() + "\n"
        table = table if any(group for group, _ in table) else table.droplevel(0, axis=1)
        if form == "html":
            lines = "".join(f"<li>{note}</li>" for note in notes)
            text = table.to_html(index=False, escape=False, border=0)
            return f'<h3>{title}</h3><div class="scroll">{text}</div><ul class="notes">{lines}</ul>'
        parts = [latex(table.iloc[:, part], fixed) for part in self.parts(LATEX_WIDTH)]
        notes = [f"\\par\\footnotesize {note}\n" for note in notes]
        start = f"\\begin{{table*}}\n\\centering\\footnotesize\\setlength{{\\tabcolsep}}{{4pt}}\n\\caption{{{title}}}\n"
        return start + "\\par\\medskip\n".join(parts) + "".join(notes) + "\\end{table*}\n"

    def csv(self) -> str:
        """Numbers to four decimals, in two columns each: the value and its spread."""
        spreads = self.cells.assign(mean=self.cells["spread"], column=self.cells["column"] + 0.5)
        spreads[self.columns[1]] = spreads[self.columns[1]].astype(str) + " ±"
        table = self.pivot(pd.concat([self.cells, spreads]).astype({"mean": float}), "mean")
        return table.set_axis(headings(table), axis=1).to_csv(index=False, float_format="%.4f")

    def parts(self, room: int) -> Iterator[list[int]]:
        """The columns of each part of the table, in which no line is longer than `room` characters. A part begins with
        the words of the lines, and none divides the columns below one heading."""
        table, fixed = self.strings("text"), len(self.index)
        widths = [max(len(word) for word in [*name, *table[name]]) + 2 for name in table]
        groups = spans(table)[fixed:]
        while groups:
            part = [*range(fixed), *groups.pop(0)]
            while groups and sum(widths[i] for i in part + groups[0]) <= room:
                part += groups.pop(0)
            yield part

    def pivot(self, cells: pd.DataFrame, value: str) -> pd.DataFrame:
        """The words of lines, and these values of the cells below the two headings of each column."""
        table = cells.pivot(index=["line", *self.index], columns=["column", *self.columns], values=value)
        table = table.sort_index().sort_index(axis=1).droplevel("line").droplevel("column", axis=1)
        heads = pd.MultiIndex.from_tuples([("", name) for name in self.index])
        words = table.index.to_frame(index=False).set_axis(heads, axis=1)
        return pd.concat([words, table.reset_index(drop=True)], axis=1)

    def strings(self, form: str) -> pd.DataFrame:
        """The whole table in words, "-" for what was not measured, the best values bold."""
        texts, best = [], self.best()
        spread_form = r" {{\scriptsize$\pm$ {:.2f}}}" if form == "latex" else " ± {:.2f}"
        for cell in self.cells.itertuples():
            text = escaped(f"{cell.mean:{'+' * cell.plus}.2f}" if pd.notna(cell.mean) else "-", form)
            text += spread_form.format(cell.spread) if pd.notna(cell.spread) else ""
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


def spans(table: pd.DataFrame) -> list[list[int]]:
    """The columns below each heading; a column without one is alone."""
    return [list(same) for _, same in groupby(range(table.shape[1]), key=lambda i: table.columns[i][0] or i)]


def latex(table: pd.DataFrame, fixed: int) -> str:
    """A tabular for booktabs, with a rule below each heading of several columns."""
    letters = "l" * fixed + "r" * (table.shape[1] - fixed)
    text = table.to_latex(index=False, escape=False, column_format=letters, multicolumn_format="c")
    groups = spans(table) if table.columns.nlevels > 1 else []
    rules = "".join(rf"\cmidrule(lr){{{one[0] + 1}-{one[-1] + 1}}}" for one in groups[fixed:])
    return text.replace("\\\\\n", f"\\\\\n{rules}\n", 1) if rules else text


def headings(table: pd.DataFrame) -> list[str]:
    return [f"{group} {name}".strip() for group, name in table]


def grid(table: pd.DataFrame, fixed: int, form: str) -> str:
    """Aligned columns, the first `fixed` of them to the left. In text a heading of several columns stands once."""
    heads = headings(table)
    if form == "simple" and any(group for group, _ in table):
        firsts = {same[0] for same in spans(table)}
        heads = [f"{group * (i in firsts)}\n{name}" for i, (group, name) in enumerate(table)]
    sides = ["left"] * fixed + ["right"] * (table.shape[1] - fixed)
    table = table.set_axis(range(table.shape[1]), axis=1)
    return table.to_markdown(index=False, headers=heads, tablefmt=form, colalign=sides, disable_numparse=True)


def escaped(text: str, form: str) -> str:
    return str(text).translate(str.maketrans(ESCAPES.get(form, {})))
