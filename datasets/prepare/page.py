"""DATASETS.md, written from the table that the code uses. `python scripts/data.py page > DATASETS.md`."""

from .sources import SOURCES

HEAD = """# Datasets

Written by `python scripts/data.py page` from `datasets/prepare/sources.yaml`, the table that the code itself uses:
change that, not this page.

All datasets live below one folder, called ROOT here and `--root` on the command line, in the layout of CoOp: an
existing CoOp data folder works as it is.

```bash
python scripts/data.py list --root ROOT                  # what there is, and what of it is below ROOT
python scripts/data.py prepare Caltech101 --root ROOT    # download, unpack, put in place, check
python scripts/data.py check Caltech101 --root ROOT      # what is there, what is missing, by name and count
```

`prepare` tries the sources in the order below: the dataset's own first, copies where that is known to be gone. A
download is believed only if its MD5 sum is the published one, or, where none is published, if it holds what it
should: CoOp's split by its hash, every image that the split names, the number of images and classes. Google Drive
often refuses after too many downloads a day; `prepare` then takes the copy where there is one. Addresses go stale:
most of these were collected, not tried, so when one fails please correct the table. ImageNet asks for registration
and is downloaded by hand.

A dataset without CoOp's split file still loads: a split is made as CoOp makes it (from the dataset's own lists, or
50/20/30 of each class) with a fixed seed and is kept, but its figures do not compare with published ones. `check`
says so.

Any other folder of images works too, without an entry here: `--dataset-config-file configs/datasets/imagefolder.yaml
--root FOLDER`, where FOLDER holds one folder of images for each class, or `train/`, `test/` and perhaps `val/` with
such folders.

## Few-shot images

`datasets/fewshot/` holds the exact images of 1, 2, 4, 8 and 16 shots for seeds 1 to 3 for seven datasets. A list is
used if its hash is that of the loaded split; a `split_fewshot/shot_<k>-seed_<s>.pkl` in the dataset's folder, as CoOp
writes them, comes first if all of its images are in the split; otherwise the images are drawn. All three are the same
images: the draw repeats CoOp's calls of Python's generator in their order, after `random.seed(seed)`. Tests compare
it with a Dassl reader's draw, with every list, and with two selections that linzhiqiu/cross_modal_adaptation
publishes for the same splits and seeds. `scripts/fewshot_lists.py` writes the lists, with a digest in the first line:
a list that was changed is refused.

ImageNet's images are listed in sorted order (CoOp: in the order of the file system, kept in `preprocessed.pkl`, which
is not read), so a few-shot draw is the same on every machine; to train on the draw of an older CoOp run, keep its
`split_fewshot` file.

## The datasets
"""


def markdown():
    """The whole page."""
    sections = [_summary(), *(_section(source) for source in SOURCES.values())]
    return HEAD + "\n" + "\n\n".join(sections) + "\n"


def _summary():
    rows = [
        f"| [{s.reader}](#{s.reader.lower()}) | `{s.config}.yaml` | {_sizes(s)} | {s.classes} | {s.licence} |"
        for s in SOURCES.values()
    ]
    return "\n".join(["| dataset | config | train / val / test | classes | licence |", "|---|---|---|---|---|", *rows])


def _sizes(source):
    return " / ".join(f"{size:,}" if size else "-" for size in source.sizes)


def _section(source):
    lines = [f"### {source.reader}", "", f"{source.homepage}{'. ' + source.note if source.note else ''}", ""]
    for resource in source.resources:
        lines += _resource(resource, "")
    if source.mirror:
        lines += _resource(source.mirror, ": a copy of the dataset, for what is still missing")
    if source.manual:
        lines += (["", "By hand:", ""] if lines[-1] else ["By hand:", ""]) + ["```text", source.manual.rstrip(), "```"]
    return "\n".join(lines).rstrip()


def _resource(resource, remark):
    facts = [resource.size, resource.md5 and f"MD5 `{resource.md5}`"]
    facts = ", ".join(filter(None, [*facts, resource.split_hash and f"split `{resource.split_hash}`"]))
    name = resource.urls[-1].rpartition("/")[2] if remark else resource.name
    places = ", ".join(f"`{place}`" for place in resource.gives)
    lines = [f"- `{name}`{f' ({facts})' if facts else ''}{remark}; gives {places}"]
    return lines + [f"  - {_address(url)}" for url in resource.urls]


def _address(url):
    return f"https://drive.google.com/file/d/{url.removeprefix('gdrive:')}" if url.startswith("gdrive:") else url
