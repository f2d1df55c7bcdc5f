"""Known zero-shot figures (configs/papers/zeroshot/), and why a measured one differs from them.

A figure follows from four things: split, template, preprocessing and weights. Each is compared with the known one by
itself, so that a cause is found and not guessed.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from dassl.data.transforms import build_transform
from PIL import Image
from torchvision import transforms as T

from datasets.prepare.sources import SOURCES

FOLDER = Path(__file__).resolve().parents[2] / "configs/papers/zeroshot"
METRICS = ("base", "new", "all")
EQUAL, NEAR = 0.1, 0.5  # points of percent
FULL = "full"  # stands for the hash of a full split that is not known
IMAGENET_PIXELS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class KnownData:
    """What is known of a data set. splits: {hash: images in train, val and test}, CoOp's full split first."""

    classes: int
    names: str
    template: str
    splits: dict

    @property
    def full(self):
        return next(iter(self.splits))

    def closest(self, split_hash, sizes):
        """The hash of the known split that this one is or stands for: one with as many test images, else the full."""
        if split_hash in self.splits:
            return split_hash
        return next((name for name, known in self.splits.items() if known[2] == sizes[2]), self.full)


@dataclass(frozen=True)
class KnownBackbone:
    """What is known of a backbone. figures: {data set: {hash of the split: {metric: percent}}}."""

    name: str
    sha256: str
    preprocessing: dict
    figures: dict
    note: str = ""


@dataclass(frozen=True)
class Found:
    """What a run measured, and on what. `sizes`: images in train, val and test; `bank`: the header's preprocessing
    where features came from a bank, else None; `cfg`: the run's configuration."""

    metrics: dict
    backbone: str
    sha256: str
    split_hash: str
    names: str
    classes: int
    sizes: tuple
    templates: list
    bank: dict | None
    cfg: object


def read(name):
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


@cache
def known_data():
    """{config name: KnownData} of the data sets of Table 1."""
    sources, found = {source.config: source for source in SOURCES.values()}, {}
    for config, row in read("benchmark.yaml").items():
        source = sources[config]
        full = next((part.split_hash for part in source.resources if part.split_hash), FULL)
        splits = {full: tuple(source.sizes), **{key: tuple(sizes) for key, sizes in row.get("reduced", {}).items()}}
        found[config] = KnownData(source.classes, row["names"], row["template"], splits)
    return found


def known_backbone(name, sha256):
    """KnownBackbone by its weights, else by its name or its file's name (ViT-B-16.pt); None where neither is known."""
    rows = [read(path.name) for path in sorted(FOLDER.glob("*.yaml")) if path.name != "benchmark.yaml"]
    spellings = [{row["backbone"], row["backbone"].replace("/", "-"), *row.get("also", ())} for row in rows]
    named = [row for row, spelt in zip(rows, spellings) if spelt & {name, Path(name).stem}]
    row = next((row for row in rows if row["sha256"] == sha256), named[0] if named else None)
    if row is None:
        return None
    # a hash of open_clip's tensors is no hash of OpenAI's file
    known_hash = "" if name in row.get("also", ()) else row["sha256"]
    return KnownBackbone(row["backbone"], known_hash, row["preprocessing"], figures(row), row.get("note", ""))


def figures(row):
    """{data set: {hash of the split: {metric: percent}}} of a backbone's file and the tables that it names."""
    found = {config: dict(splits) for config, splits in row.get("splits", {}).items()}
    published = {config: dict(values) for config, values in row.get("figures", {}).items()}
    for file, metrics in row.get("tables", {}).items():
        table = yaml.safe_load((FOLDER.parent / file).read_text(encoding="utf-8"))
        values = next(line["values"] for line in table["rows"] if line.get("trainer") == "ZeroshotCLIP")
        for config in known_data().keys() & values.keys():
            percent = dict(zip(table["metrics"], values[config], strict=True))
            published.setdefault(config, {}).update({ours: percent[theirs] for theirs, ours in metrics.items()})
    for config, values in published.items():
        found.setdefault(config, {})[known_data()[config].full] = values
    return found


def verdict(measured, wanted):
    """equal, near, different, or unknown where no figure is known: by the largest difference."""
    gaps = [abs(round(measured[name], 2) - wanted[name]) for name in METRICS if name in measured and name in wanted]
    if not gaps:
        return "unknown"
    gap = max(gaps) - 1e-9  # 0.1 in binary is not 0.1
    return "equal" if gap <= EQUAL else "near" if gap <= NEAR else "different"


def causes(found, data, backbone):
    """What is not as it was where the figures were measured, "<cause>: <what>", the likeliest first."""
    lines = []
    if data:
        fault = ", ".join(split_faults(found, data))
        lines += [f"split: {fault}"] if fault else []
        if found.templates != [data.template]:
            shown = " | ".join(f'"{template}"' for template in found.templates)
            lines.append(f'template: {shown}, the figure belongs to "{data.template}"')
    if backbone:
        fault = bank_fault(found.bank, backbone) if found.bank is not None else transform_fault(found.cfg, backbone)
        lines += [f"preprocessing: {fault}"] if fault else []
        if backbone.sha256 and found.sha256 != backbone.sha256:
            lines.append(f"weights: sha256 {found.sha256[:12]}, {backbone.name}'s is {backbone.sha256[:12]}")
    return lines


def split_faults(found, data):
    """How a split that is not a known one differs from that which it stands for."""
    if found.split_hash in data.splits:
        return
    name = data.closest(found.split_hash, found.sizes)
    if found.classes != data.classes:
        yield f"{found.classes} classes, expected {data.classes}"
    elif found.names != data.names:
        yield "class names differ, or their order (two exchanged, renamed or sorted otherwise)"
    # train and val do not enter zero-shot accuracy, but tell CoOp's split from one that was made anew
    if tuple(found.sizes) != data.splits[name]:
        yield f"{counts(found.sizes)} images in train/val/test, expected {counts(data.splits[name])}"
    elif name != FULL and found.classes == data.classes and found.names == data.names:
        yield "as many images, but others or under other labels"
    if name != FULL:
        yield f"hash {found.split_hash} instead of {name}"


def counts(sizes):
    return "/".join(map(str, sizes))


def bank_fault(header, backbone):
    """What the header of a bank says about preprocessing that is not the backbone's; '' where all is."""
    want = backbone.preprocessing
    for key, value in {**want, "size": [want["size"]] * 2}.items():
        if key in header and header[key] != value:
            return f"the bank was made with {key} {header[key]}, {backbone.name} expects {value}"
    return ""


def probe():
    """An image, wider than high, with edges and gradients in all channels: any change of preprocessing shows."""
    y, x = np.mgrid[0:240, 0:360]
    checks = ((x // 7 + y // 5) % 2) * 90
    return Image.fromarray(np.stack([x % 160 + checks, y % 150 + checks, (x + y) % 140 + checks], -1).astype("uint8"))


def pipeline(size, interpolation, mean=None, std=None, crop=True):
    """CLIP's preprocessing, written down a second time on purpose: the run's own is compared with it."""
    mode = T.InterpolationMode(interpolation)
    steps = [T.Resize(size, mode), T.CenterCrop(size)] if crop else [T.Resize((size, size), mode)]
    return T.Compose([*steps, T.ToTensor(), *([T.Normalize(mean, std)] if mean else [])])


def transform_fault(cfg, backbone):
    """How the run's transform of a test image differs from the backbone's; '' where it does not."""
    want, image = backbone.preprocessing, probe()
    transform = build_transform(cfg, is_train=False)
    if transform is None:
        return "images are not transformed at all (INPUT.NO_TRANSFORM)"
    pixels = transform(image)
    if same(pixels, pipeline(**want)(image)):
        return ""
    size, interpolation = want["size"], want["interpolation"]
    tried = {
        "pixels are not normalised": pipeline(size, interpolation),
        "pixels are normalised with ImageNet's mean and std": pipeline(size, interpolation, *IMAGENET_PIXELS),
        "images are resized without a centre crop": pipeline(**want, crop=False),
        "images are resized bilinearly": pipeline(**{**want, "interpolation": "bilinear"}),
    }
    for fault, other in tried.items():
        if same(pixels, other(image)):
            return f"{fault}; {backbone.name} expects {want}"
    return f"test images become other pixels than {backbone.name} expects: {want}"


def same(a, b):
    return a.shape == b.shape and (a - b).abs().max().item() < 1e-3
