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
from lib.console import at_least
from lib.faults import say_errors

from trainers import load
from trainers.core.answers import UNREADABLE
from trainers.core.files import read_names, replacing
from trainers.core.memory import sources_of

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
    return parser.parse_args(argv)


def likeness(head, shares):
    """ " (base-like 93.1%)" or " (new-like ...)" of an image's probabilities; "" where nothing separates the two."""
    if not shares or not hasattr(head, "is_base"):
        return ""
    base = sum(share for share, own in zip(shares, head.is_base.tolist()) if own)
    return f" (base-like {base:.1%})" if base >= 0.5 else f" (new-like {1 - base:.1%})"


def write(path, write_to):
    """What `write_to(file)` writes."""
    with replacing(path) as part, open(part, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        write_to(file)
    print(f"wrote {path}", file=sys.stderr)


def main(argv=None):
    """-> exit code: 1 where an image could not be read."""
    args, faults = parse_args(argv), {}
    files = sources_of(args.images)
    model = load(args.run, workers=WORKERS if len(files) >= MANY else 0)
    if args.names:
        model = model.among(read_names(args.names, "--names"))
    readable = iter(model.probabilities(model.features(files, faults)).tolist())
    names, head = model.classnames, model.head()
    long, wide, found = [("image", "rank", "name", "probability")], [("image", "name", *names)], []
    for file in files:
        shares = [] if file in faults else next(readable)
        best = sorted(zip(names, shares), key=lambda pair: -pair[1])[: args.top]
        line = ", ".join(f"{name} {share:.1%}" for name, share in best)
        print(f"{file}: {line or UNREADABLE}{likeness(head, shares)}")
        ranks = [(file, rank, name, f"{share:.6f}") for rank, (name, share) in enumerate(best, 1)]
        long += ranks or [(file, "", UNREADABLE, "")]
        columns = [f"{share:.6f}" for share in shares] or [""] * len(names)
        wide.append((file, best[0][0] if best else UNREADABLE, *columns))
        entry = {"image": file, "names": [name for name, _ in best], "probabilities": [round(p, 6) for _, p in best]}
        found.append(entry | ({"error": faults[file]} if file in faults else {}))
    if args.csv:
        write(args.csv, lambda file: csv.writer(file).writerows(long))
    if args.wide:
        write(args.wide, lambda file: csv.writer(file).writerows(wide))
    if args.json:
        write(args.json, lambda file: json.dump(found, file, indent=1))
    for fault in faults.values():
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    say_errors(main)
