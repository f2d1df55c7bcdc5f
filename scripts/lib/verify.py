"""Known zero-shot figures (configs/papers/zeroshot/), and why a measured one differs from them.

A figure follows from four things: split, template, preprocessing and weights. Each is compared with the known one by
itself, so a cause is found by a comparison and not guessed.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml
from safetensors import safe_open

from datasets.prepare.sources import SOURCES

PAPERS = Path(__file__).resolve().parents[2] / "configs/papers"
METRICS = ("base", "new", "all")
EQUAL, NEAR = 0.1, 0.5  # points of percent
FULL = "full"  # stands for the hash of a full split that is not known


def read(name):
    return yaml.safe_load((PAPERS / name).read_text(encoding="utf-8"))


TRAINER, DATASETS = read("zeroshot/benchmark.yaml").values()
SOURCE = {source.config: source for source in SOURCES.values() if source.config in DATASETS}


@dataclass(frozen=True)
class Measured:
    """What a run measured, and on what: its results.json, its configuration, the number of classes, and the images
    in train, val and test."""

    record: dict
    cfg: object
    classes: int
    sizes: list


def known_page(backbone, sha256=""):
    """The file of a backbone in configs/papers/zeroshot/, by its weights, its name or its file's name (ViT-B-16.pt);
    {} where none is known."""
    for page in (read("zeroshot/miniclip.yaml"), read("zeroshot/vit_b16.yaml")):
        names = {page["backbone"], page["backbone"].replace("/", "-"), *page.get("also", ())}
        if sha256 == page["sha256"] or names & {backbone, Path(backbone).stem}:
            return page
    return {}


def full_split(config):
    """The hash of CoOp's split of a data set of Table 1."""
    return next((part.split_hash for part in SOURCE[config].resources if part.split_hash), FULL)


def known_figures(page, config, split):
    """{metric: percent} of a data set on the split of this hash, or on the full one where the hash is not known, from a
    backbone's page and the published tables that it names."""
    figures = dict(page.get("splits", {}).get(config, {}))
    published = dict(page.get("figures", {}).get(config, {}))
    for file, metrics in page.get("tables", {}).items():
        table = read(file)
        values = next(row["values"] for row in table["rows"] if row.get("trainer") == TRAINER)
        percent = dict(zip(table["metrics"], values.get(config, ()), strict=False))
        published |= {ours: percent[theirs] for theirs, ours in metrics.items() if theirs in percent}
    figures.setdefault(full_split(config), published)
    return figures.get(split if split in DATASETS[config].get("reduced", {}) else full_split(config), {})


def judge(run, config):
    """-> (verdict, {metric: known percent}, the causes found). The verdict is equal, near or different, by the largest
    difference, or unknown where no figure is known."""
    metrics, backbone = run.record["metrics"], run.record["backbone"]
    page = known_page(backbone["name"], backbone["sha256"])
    known = known_figures(page, config, run.record["split_hash"]) if config in DATASETS else {}
    found = [f"{cause}: {fault}" for cause, fault in causes(run, config, page) if fault]
    gaps = [abs(round(metrics[name], 2) - known[name]) for name in known if name in metrics]
    if not gaps:
        return "unknown", known, found
    gap = max(gaps) - 1e-9  # 0.1 in binary is not 0.1
    return "equal" if gap <= EQUAL else "near" if gap <= NEAR else "different", known, found


def causes(run, config, page):
    """(cause, what is not as it was where the figures were measured, or ""), the likeliest cause first."""
    backbone = run.record["backbone"]
    if config in DATASETS:
        yield "split", split_fault(run, config)
        used, expected = run.record["identity"]["template"], DATASETS[config]["template"]
        if used != expected:
            yield "template", f'"{used}", the figure belongs to "{expected}"'
    if page:
        yield "preprocessing", preprocessing_fault(run.cfg, page["preprocessing"])
        # under another name of the same weights, the hash is of open_clip's tensors and not of OpenAI's file
        if backbone["sha256"] != page["sha256"] and backbone["name"] not in page.get("also", ()):
            yield "weights", f"sha256 {backbone['sha256'][:12]}, {page['backbone']}'s is {page['sha256'][:12]}"


def split_fault(run, config):
    """How a split that is not a known one differs from CoOp's full one."""
    split, full, faults = run.record["split_hash"], full_split(config), []
    if split in (full, *DATASETS[config].get("reduced", ())):
        return ""
    if run.classes != SOURCE[config].classes:
        faults.append(f"{run.classes} classes, expected {SOURCE[config].classes}")
    elif run.record["classnames_hash"] != DATASETS[config]["names"]:
        faults.append("class names differ, or their order (two exchanged, renamed or sorted otherwise)")
    if run.sizes != list(SOURCE[config].sizes):  # train and val show whether the split is CoOp's or was made anew
        faults.append(f"{run.sizes} images in train, val and test, expected {list(SOURCE[config].sizes)}")
    return ", ".join([*faults, *([f"hash {split} instead of {full}"] if full != FULL else [])])


def preprocessing_fault(cfg, expected):
    """How the images, or those of a bank by its header, were preprocessed otherwise than the backbone expects."""
    keys = {"size": "SIZE", "interpolation": "INTERPOLATION", "mean": "PIXEL_MEAN", "std": "PIXEL_STD"}
    used = {name: cfg.INPUT[key] for name, key in keys.items()}
    if cfg.FEATURES.BANK:
        with safe_open(cfg.FEATURES.BANK, framework="numpy") as bank:
            used = json.loads(bank.metadata().get("preprocess", "{}"))
    used = json.loads(json.dumps(used))  # tuples become lists, as in the file of known figures
    differing = [name for name in expected if used.get(name, expected[name]) != expected[name]]
    return ", ".join(f"{name} {used[name]}, expected {expected[name]}" for name in differing)
