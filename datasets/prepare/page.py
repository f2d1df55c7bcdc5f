"""DATASETS.md: the text of page.md, then the table that the code uses. `python scripts/data.py page > DATASETS.md`."""

from pathlib import Path

from tabulate import tabulate

from .sources import SOURCES, TABLE

HEAD = Path(__file__).with_name("page.md")


def table(form, root=""):
    """What there is, a row a dataset, in a format of tabulate's; with a root also how many of its parts are there."""
    heads, rows = ["dataset", "config", "train / val / test", "classes", "licence"], []
    for source in SOURCES.values():
        sizes = " / ".join(f"{size:,}" if size else "-" for size in source.sizes)
        rows.append([source.reader, source.config, sizes, source.classes, source.licence])
        if root:
            parts = len(source.places())
            rows[-1].append(f"{parts - len(source.missing(root))} of {parts} parts")
    return tabulate(rows, [*heads, "there"] if root else heads, tablefmt=form, disable_numparse=True)


def markdown():
    """The whole page."""
    return f"{HEAD.read_text(encoding='utf-8')}\n{table('github')}\n\n```yaml\n{TABLE.read_text(encoding='utf-8')}```"
