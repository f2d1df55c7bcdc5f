"""The table of where each dataset comes from (sources.yaml), as objects."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

TABLE = Path(__file__).resolve().with_name("sources.yaml")


@dataclass(frozen=True)
class Resource:
    """One download."""

    name: str  # of the file while it is worked on; in the table by default the end of the last address
    urls: list  # tried in this order; 'gdrive:<id>' is a file on Google Drive
    gives: dict  # place below the root -> end of a path inside the archive, '' for a file that is used as it is
    size: str = ""
    md5: str = ""
    inner: str = ""  # an archive inside the archive, which holds what is wanted
    split_hash: str = ""  # of a split file, where known


@dataclass(frozen=True)
class Source:
    """A dataset: its downloads, a mirror for what they leave missing, and what a complete copy holds."""

    reader: str  # the reader's name
    config: str  # configs/datasets/<config>.yaml
    homepage: str
    licence: str
    sizes: list  # images in train, val and test; in zero-shot sets the test has seen and unseen ones
    classes: int
    note: str = ""
    resources: Sequence = ()
    mirror: Resource | None = None
    by_hand: Sequence = ()  # places that only the manual steps give
    manual: str = ""  # steps for what must not, or cannot, be automated

    def downloads(self):
        """All resources, the mirror last."""
        return [*self.resources, *([self.mirror] if self.mirror else [])]

    def places(self):
        """Everything that must be there, relative to the root."""
        return list(dict.fromkeys([*self.by_hand, *(place for item in self.downloads() for place in item.gives)]))

    def missing(self, root):
        """Those of the places that are not below `root`."""
        return [place for place in self.places() if not os.path.exists(os.path.join(root, place))]


def _resource(row, prefix=""):
    return Resource(**{"name": prefix + row["urls"][-1].rpartition("/")[2], **row})


def _source(reader, row):
    resources = [_resource(item) for item in row.get("resources", ())]
    mirror = _resource(row["mirror"], "mirror-") if "mirror" in row else None
    return Source(reader, **{**row, "resources": resources, "mirror": mirror})


SOURCES = {reader: _source(reader, row) for reader, row in yaml.safe_load(TABLE.read_text(encoding="utf-8")).items()}
