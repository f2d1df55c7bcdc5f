"""Trains on a folder of images, beside classes that have only a name, and says what to expect of the model.

    python scripts/fit.py datasets/animals/images --names names.txt --out output/animals
    python scripts/fit.py datasets/animals/images --out output/four --few 4

The folder has a folder of images per class (docs/your-data.md); the file of --names has a name a line. The figures are
cross-validated within the images of the folder, beside those of CLIP without training. The run in --out, which
predict.py and demo.py open, has page.html too: accuracy per class, and which classes and images are confused.
"""

import argparse
import os
import time
from collections import Counter

import _path  # noqa: F401
from lib.console import at_least
from lib.faults import say_errors
from lib.fit_page import write_page

from trainers import fit
from trainers.core.files import read_names
from trainers.core.memory_data import from_folder

DEFAULTS = fit.__kwdefaults__


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder of images per class")
    parser.add_argument("--names", default="", help="text file of class names without images, a name a line")
    parser.add_argument("--out", required=True, help="folder of the run that is written")
    parser.add_argument("--few", type=at_least(1), help="images per class to train on (default: all)")
    parser.add_argument("--method", default=DEFAULTS["method"], help="any trainer's name (default: %(default)s)")
    parser.add_argument("--backbone", default=DEFAULTS["backbone"], help="MODEL.BACKBONE.NAME (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=DEFAULTS["seed"], help="draws the few images, and trains")
    parser.add_argument("--skip-bad-images", action="store_true", help="leave out images that cannot be read")
    return parser.parse_args(argv)


def main(argv=None):
    args, start = parse_args(argv), time.perf_counter()
    names = read_names(args.names, "--names") if args.names else []
    paths, labels = from_folder(args.folder, ("train", ""))
    counts = Counter(labels).values()
    per_class = min(counts) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    few = f"; at most {args.few} of each are trained on" if args.few else ""
    print(f"{args.folder}: {len(paths)} images of {len(counts)} classes, {per_class} per class{few}")
    print(f"names without images: {', '.join(names) or 'none'}", flush=True)
    chosen = {"method": args.method, "backbone": args.backbone, "shots": args.few, "seed": args.seed, "out": args.out}
    model = fit(paths, labels, new_names=names, skip_bad_images=args.skip_bad_images, **chosen)
    print(f"{model.scores}\n{time.perf_counter() - start:.0f} seconds; the model is in {args.out}")
    if model.scores.with_images:
        page = os.path.join(args.out, "page.html")
        write_page(page, model, args.folder)
        print(f"accuracy per class and confusions: {page}")
    print(f"type next: python scripts/predict.py {args.out} photos/ --csv predictions.csv")


if __name__ == "__main__":
    say_errors(main)
