"""Classifies images with a finished run, over its base and its label-only class names.

    python scripts/predict.py output/.../CoOp_SHIP/miniclip/seed1 photo.jpg pictures/ --top 3 --csv predictions.csv

Prints the most probable names of each image. --csv writes them as rows, --json as a list, and --wide all probabilities
as a CSV with one column per class. --names FILE asks among other names, a name a line, where the method can. A run that
separates base from new images also says which of the two an image is like.

Hidden files of a folder are skipped. An image that cannot be read is named and marked, and the exit code is then 1.
"""

import argparse
import csv
import json
import sys

import _path  # noqa: F401
from lib.console import at_least, image_files
from lib.faults import say_errors

from trainers import load
from trainers.core.answers import UNREADABLE
from trainers.core.files import read_names, replacing

WORKERS, MANY = 4, 256  # processes that read images, and for how many images they are started


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="output folder of a finished run")
    parser.add_argument("images", nargs="+", help="image files or folders of images")
    parser.add_argument("--top", type=at_least(1), default=3, help="names per image")
    parser.add_argument("--csv", default="", help="file to write: image, rank, name, probability")
    parser.add_argument("--wide", default="", help="CSV file to write: image, name, a column per class")
    parser.add_argument("--json", default="", help="file to write: a list of {image, names, probabilities}")
    parser.add_argument("--names", default="", help="text file of class names to choose from instead of the run's own")
    parser.add_argument("--load-epoch", type=int, help="which epoch of the run (default: the last)")
    return parser.parse_args(argv)


def likeness(model, probabilities):
    """-> for each image " (base-like 93.1%)" or " (new-like ...)", with the probability; "" where nothing separates."""
    is_base = getattr(model.head(), "is_base", None)
    if is_base is None or is_base.all() or not is_base.any():
        return [""] * len(probabilities)
    shares = probabilities[:, is_base.cpu().numpy()].sum(1)
    return [f" ({'base' if p >= 0.5 else 'new'}-like {max(p, 1 - p):.1%})" for p in shares.tolist()]


def write_csv(path, header, rows):
    with replacing(path) as part, open(part, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([header, *rows])


def long_rows(files, ranked):
    """A row per image and rank; one without rank and probability for an image that could not be read."""
    for image in files:
        if image not in ranked:
            yield image, "", UNREADABLE, ""
        for rank, (name, p) in enumerate(ranked.get(image, ()), 1):
            yield image, rank, name, f"{p:.6f}"


def wide_rows(files, ranked, shares, width):
    """A row per image: its best name, then the probability of each class; none for an image that could not be read."""
    for image in files:
        if image in ranked:
            yield image, ranked[image][0][0], *(f"{p:.6f}" for p in shares[image])
        else:
            yield image, UNREADABLE, *[""] * width


def write_json(path, files, ranked, faults):
    """A dict per image; one with the reason, as "error", for an image that could not be read."""
    found = []
    for image in files:
        names, shares = zip(*ranked[image]) if image in ranked else ((), ())
        found.append({"image": image, "names": names, "probabilities": [round(float(p), 6) for p in shares]})
        if image in faults:
            found[-1]["error"] = faults[image]
    with replacing(path) as part:
        part.write_text(json.dumps(found, indent=1), encoding="utf-8")


def main(argv=None):
    """-> exit code: 1 where an image could not be read."""
    args, faults = parse_args(argv), {}
    files = image_files(args.images)
    model = load(args.run, epoch=args.load_epoch, workers=WORKERS if len(files) >= MANY else 0)
    if args.names:
        model = model.among(read_names(args.names, "--names"))
    probabilities = model.probabilities(model.features(files, faults))
    readable = [image for image in files if image not in faults]
    places = (-probabilities).argsort(1, kind="stable")[:, : args.top].tolist()
    shares, names = dict(zip(readable, probabilities, strict=True)), model.classnames
    ranked = {image: [(names[i], shares[image][i]) for i in row] for image, row in zip(readable, places)}
    kinds = dict(zip(readable, likeness(model, probabilities)))
    for image in files:
        line = ", ".join(f"{name} {p:.1%}" for name, p in ranked.get(image, ()))
        print(f"{image}: {line or UNREADABLE}{kinds.get(image, '')}")
    if args.csv:
        write_csv(args.csv, ["image", "rank", "name", "probability"], long_rows(files, ranked))
    if args.wide:
        write_csv(args.wide, ["image", "name", *names], wide_rows(files, ranked, shares, len(names)))
    if args.json:
        write_json(args.json, files, ranked, faults)
    for path in filter(None, (args.csv, args.wide, args.json)):
        print(f"wrote {path}", file=sys.stderr)
    for fault in faults.values():
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    say_errors(main)
