"""DATASETS.md: the text of page.md, then the table that the code uses. `python scripts/data.py page > DATASETS.md`."""

from pathlib import Path

from .sources import SOURCES

HEAD = Path(__file__).with_name("page.md")


def markdown():
    """The whole page."""
    table = ["| dataset | config | train / val / test | classes | licence |", "|---|---|---|---|---|"]
    for source in SOURCES.values():
        sizes = " / ".join(f"{size:,}" if size else "-" for size in source.sizes)
        link = f"[{source.reader}](#{source.reader.lower()})"
        table.append(f"| {link} | `{source.config}.yaml` | {sizes} | {source.classes} | {source.licence} |")
    sections = ["\n".join(table), *map(_section, SOURCES.values())]
    return HEAD.read_text(encoding="utf-8") + "\n" + "\n\n".join(sections) + "\n"


def _section(source):
    note = f". {source.note}" if source.note else ""
    downloads = [line for resource in source.downloads() for line in _resource(resource, resource is source.mirror)]
    by_hand = f"By hand:\n\n```text\n{source.manual.rstrip()}\n```" if source.manual else ""
    blocks = [f"### {source.reader}", f"{source.homepage}{note}", "\n".join(downloads), by_hand]
    return "\n\n".join(filter(None, blocks))


def _resource(resource, is_mirror):
    md5 = resource.md5 and f"MD5 `{resource.md5}`"
    split = resource.split_hash and f"split `{resource.split_hash}`"
    facts = ", ".join(filter(None, (resource.size, md5, split)))
    name = resource.urls[-1].rpartition("/")[2] if is_mirror else resource.name
    remark = ": a copy of the dataset, for what is still missing" if is_mirror else ""
    places = ", ".join(f"`{place}`" for place in resource.gives)
    addresses = [f"  - {url}".replace("gdrive:", "https://drive.google.com/file/d/") for url in resource.urls]
    return [f"- `{name}`{f' ({facts})' if facts else ''}{remark}; gives {places}", *addresses]
