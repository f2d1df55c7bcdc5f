"""Classifies images with a finished run, over its base and its label-only class names.

    python scripts/predict.py output/.../CoOp_SHIP/miniclip/seed1 photo.jpg pictures/ --top 3 --csv predictions.csv

Prints the most probable names of each image and writes them as CSV. --names FILE asks among other names, a name a line,
where the method can. A run that separates base from new images (GATE, PVA) also says which of the two an image is like.
"""

import argparse
import csv
import sys

import _path  # noqa: F401
import torch
from dassl.data.transforms import build_transform
from dassl.utils import UserError, atomic_path, read_image
from lib.console import image_files, read_lines
from lib.faults import say_errors
from tqdm import tqdm
from trainers.core.features.encoding import BATCH

from trainers import open_run


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="output folder of a finished run")
    parser.add_argument("images", nargs="+", help="image files or folders of images")
    parser.add_argument("--top", type=int, default=3, help="names an image")
    parser.add_argument("--csv", default="", help="file to write: image, rank, name, probability")
    parser.add_argument("--names", default="", help="text file of class names to choose from instead of the run's own")
    parser.add_argument("--load-epoch", type=int, help="which epoch of the run (default: the last)")
    return parser.parse_args(argv)


@torch.no_grad()
def features_of(files, trainer):
    """Unit features [N, d] of image files. Raises UserError naming a file that cannot be read."""
    transform = build_transform(trainer.cfg, is_train=False)
    size = BATCH.get(trainer.device.type, 64)
    found = []
    for start in tqdm(range(0, len(files), size), desc="images", unit="batch", disable=len(files) <= size):
        images = torch.stack([transform(read_image(file)) for file in files[start : start + size]])
        found.append(trainer.backbone.encode_image(images.to(trainer.device, trainer.backbone.dtype)).float())
    return torch.cat(found)


def classify(trainer, features, names, top):
    """-> for each image, its `top` (name, probability) pairs, most probable first."""
    probabilities = trainer.probabilities(trainer.head_for(names), features)
    values, indices = probabilities.topk(min(top, len(names)), dim=1)
    pairs = zip(indices.tolist(), values.tolist())
    return [[(names[i], p) for i, p in zip(index, shares)] for index, shares in pairs]


def known_names(trainer):
    """The names of a run: those that a gate of it separates, else those that it was trained over."""
    found = (plugin.known_names() for plugin in trainer.plugins if hasattr(plugin, "known_names"))
    return next(filter(None, found), trainer.trained_classnames)


@torch.no_grad()
def likeness(trainer, features, names):
    """-> for each image " (base-like 93.1%)" or " (new-like ...)", with the probability; "" where nothing separates."""
    head = trainer.head_for(names)
    is_base = getattr(head, "is_base", torch.tensor([True]))
    if is_base.all() or not is_base.any():
        return [""] * len(features)
    shares = trainer.probabilities(head, features)[:, is_base].sum(1)
    return [f" ({'base' if p >= 0.5 else 'new'}-like {max(p, 1 - p):.1%})" for p in shares.tolist()]


def write_csv(path, files, predictions):
    with atomic_path(path) as part, open(part, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "rank", "name", "probability"])
        for image, ranked in zip(files, predictions):
            writer.writerows([image, rank, name, f"{p:.6f}"] for rank, (name, p) in enumerate(ranked, 1))


def main(argv=None):
    args = parse_args(argv)
    if args.top < 1:
        raise UserError(f"--top is {args.top}; it must be at least 1")
    files = image_files(args.images)
    trainer = open_run(args.run, args.load_epoch)
    names = read_lines(args.names, "--names", "class name") if args.names else known_names(trainer)
    features = features_of(files, trainer)
    predictions = classify(trainer, features, names, args.top)
    for image, ranked, kind in zip(files, predictions, likeness(trainer, features, names)):
        print(f"{image}: " + ", ".join(f"{name} {p:.1%}" for name, p in ranked) + kind)
    if args.csv:
        write_csv(args.csv, files, predictions)
        print(f"wrote {args.csv}", file=sys.stderr)


if __name__ == "__main__":
    say_errors(main)
