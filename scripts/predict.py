"""Classifies images with a finished run, over its base and its label-only class names.

    python scripts/predict.py output/.../CoOp_SHIP/miniclip/seed1 photo.jpg pictures/ --top 3 --csv predictions.csv

Prints the most probable names of each image and writes them as CSV. --names FILE asks among other names, a name a line,
where the method can. A run that separates base from new images also says which of the two an image is like.

Hidden files of a folder are skipped. An image that cannot be read is named and marked, and the exit code is then 1.
"""

import argparse
import csv
import sys

import _path  # noqa: F401
import torch
from lib.console import at_least, image_files
from lib.faults import say_errors

from trainers import open_run
from trainers.core.answers import UNREADABLE
from trainers.core.files import read_names, replacing, require_different
from trainers.core.memory import MemoryStore
from trainers.core.memory_data import labelled
from trainers.core.process import quiet


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="output folder of a finished run")
    parser.add_argument("images", nargs="+", help="image files or folders of images")
    parser.add_argument("--top", type=at_least(1), default=3, help="names per image")
    parser.add_argument("--csv", default="", help="file to write: image, rank, name, probability")
    parser.add_argument("--names", default="", help="text file of class names to choose from instead of the run's own")
    parser.add_argument("--load-epoch", type=int, help="which epoch of the run (default: the last)")
    return parser.parse_args(argv)


def features_of(files, trainer):
    """-> (unit features [N, d] of the N image files that can be read, {other file: why it cannot}), as the API's."""
    store = MemoryStore(trainer.cfg, trainer.backbone, dict(zip(files, files)), 1)
    if hasattr(trainer.head, "encode_image"):
        store.encode_image = trainer.encode_image
    with quiet():
        found = store.plain_views(labelled(files, [""] * len(files)))
    return found.first().to(trainer.device, torch.float32), store.faults


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


def write_csv(path, files, ranked):
    """A row per image and rank; one without rank and probability for an image that could not be read."""
    with replacing(path) as part, open(part, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "rank", "name", "probability"])
        for image in files:
            if image not in ranked:
                writer.writerow([image, "", UNREADABLE, ""])
            for rank, (name, p) in enumerate(ranked.get(image, ()), 1):
                writer.writerow([image, rank, name, f"{p:.6f}"])


def main(argv=None):
    """-> exit code: 1 where an image could not be read."""
    args = parse_args(argv)
    files = image_files(args.images)
    trainer = open_run(args.run, args.load_epoch)
    names = read_names(args.names, "--names") if args.names else known_names(trainer)
    if args.names:
        require_different(names, (), f"--names {args.names}")
    features, faults = features_of(files, trainer)
    readable = [image for image in files if image not in faults]
    ranked = dict(zip(readable, classify(trainer, features, names, args.top), strict=True))
    kinds = dict(zip(readable, likeness(trainer, features, names), strict=True))
    for image in files:
        line = ", ".join(f"{name} {p:.1%}" for name, p in ranked.get(image, ()))
        print(f"{image}: {line or UNREADABLE}{kinds.get(image, '')}")
    if args.csv:
        write_csv(args.csv, files, ranked)
        print(f"wrote {args.csv}", file=sys.stderr)
    for fault in faults.values():
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    say_errors(main)
