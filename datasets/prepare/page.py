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
    lines = [f"### {source.reader}", "", f"{source.homepage}{note}", ""]
    for resource in source.downloads():
        lines += _resource(resource, is_mirror=resource is source.mirror)
    if source.manual:
        lines += [""] if lines[-1] else []
        lines += ["By hand:", "", "```text", source.manual.rstrip(), "```"]
    return "\n".join(lines).rstrip()


def _resource(resource, is_mirror):
    md5 = f"MD5 `{resource.md5}`" if resource.md5 else ""
    split = f"split `{resource.split_hash}`" if resource.split_hash else ""
    facts = ", ".join(fact for fact in (resource.size, md5, split) if fact)
    name = resource.urls[-1].rpartition("/")[2] if is_mirror else resource.name
    remark = ": a copy of the dataset, for what is still missing" if is_mirror else ""
    places = ", ".join(f"`{place}`" for place in resource.gives)
    addresses = [url.replace("gdrive:", "https://drive.google.com/file/d/") for url in resource.urls]
    return [f"- `{name}`{f' ({facts})' if facts else ''}{remark}; gives {places}", *(f"  - {url}" for url in addresses)]
