"""DATASETS.md: the text of page.md, then the table that the code uses. `python scripts/data.py page > DATASETS.md`."""

from pathlib import Path

from tabulate import tabulate

from .sources import SOURCES

HEAD = Path(__file__).with_name("page.md")


def table(form, root=""):
    """What there is, a row a dataset, in a format of tabulate's; with a root also how many of its parts are there."""
    rows = []
    for source in SOURCES.values():
        sizes = " / ".join(f"{size:,}" if size else "-" for size in source.sizes)
        rows.append([source.reader, source.config, sizes, source.classes, source.licence])
        if root:
            parts = len(source.places())
            rows[-1].append(f"{parts - len(source.missing(root))} of {parts} parts")
    heads = ["dataset", "config", "train / val / test", "classes", "licence", *(["there"] if root else [])]
    return tabulate(rows, heads, tablefmt=form, disable_numparse=True)


def markdown():
    """The whole page."""
    sections = [table("github"), *map(_section, SOURCES.values())]
    return HEAD.read_text(encoding="utf-8") + "\n" + "\n\n".join(sections)


def _section(source):
    note = f". {source.note}" if source.note else ""
    lines = [f"### {source.reader}", "", f"{source.homepage}{note}", ""]
    for resource in source.resources:
        md5 = resource.md5 and f"MD5 `{resource.md5}`"
        split = resource.split_hash and f"split `{resource.split_hash}`"
        places = ", ".join(f"`{place}`" for place in resource.gives)
        lines.append(f"- `{resource.name}`: {', '.join(filter(None, (resource.size, md5, split, f'gives {places}')))}")
        lines += [f"  - {url}".replace("gdrive:", "https://drive.google.com/file/d/") for url in resource.urls]
    if source.manual:
        lines += ["", "By hand:", "", "```text", source.manual.rstrip(), "```"]
    return "\n".join(lines)
