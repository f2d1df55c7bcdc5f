"""The table of where each dataset comes from (sources.yaml), as objects, and DATASETS.md, which shows it."""

import os
from dataclasses import dataclass
from pathlib import Path

import yaml
from dassl.utils import UserError, nearest
from tabulate import tabulate

TABLE = Path(__file__).resolve().with_name("sources.yaml")
HEAD = TABLE.with_name("page.md")


@dataclass(frozen=True)
class Resource:
    """One download."""

    name: str  # of the file while it is worked on; in the table by default the end of the last address
    urls: list  # tried in this order; none where only the manual steps help
    gives: dict  # place below the root -> end of a path inside the archive, '' for a file that is used as it is
    size: str = ""
    md5: str = ""
    inner: str = ""  # an archive inside the archive, which holds what is wanted
    split_hash: str = ""  # of a split file, where known


@dataclass(frozen=True)
class Source:
    """A dataset: its downloads, and what a complete copy holds."""

    reader: str  # the reader's name
    config: str  # configs/datasets/<config>.yaml
    homepage: str
    licence: str
    sizes: list  # images in train, val and test; in zero-shot sets the test has seen and unseen ones
    classes: int
    resources: list
    note: str = ""
    manual: str = ""  # steps for what must not, or cannot, be automated

    def places(self):
        """Everything that must be there, relative to the root."""
        return list(dict.fromkeys(place for resource in self.resources for place in resource.gives))

    def missing(self, root):
        """Those of the places that are not below `root`."""
        return [place for place in self.places() if not os.path.exists(os.path.join(root, place))]


def _source(reader, row):
    resources = []
    for item in row["resources"]:
        name = item.get("name") or item["urls"][-1].rpartition("/")[2]
        resources.append(Resource(**{**item, "name": name}))
    return Source(reader, **{**row, "resources": resources})


SOURCES = {reader: _source(reader, row) for reader, row in yaml.safe_load(TABLE.read_text(encoding="utf-8")).items()}


def source_of(name):
    """The source of a dataset by its reader's name or its config's, in any case. Raises UserError."""
    for source in SOURCES.values():
        if name.lower() in (source.reader.lower(), source.config):
            return source
    close = ", ".join(nearest(name, SOURCES)[:3])
    raise UserError(f"no dataset is called {name!r}; the nearest: {close}; all: python scripts/data.py list")


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
    """DATASETS.md: the text of page.md, and what there is."""
    return f"{HEAD.read_text(encoding='utf-8')}\n{table('github')}"
