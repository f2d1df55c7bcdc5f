"""Trains on a folder of images, beside classes that have only a name, and says what to expect of the model.

    python scripts/fit.py datasets/animals/images --names names.txt --out output/animals
    python scripts/fit.py datasets/animals/images --out output/four --few 4

The folder has a folder of images per class (docs/your-data.md); the file of --names has a name a line. The figures are
cross-validated within the images of the folder, beside those of CLIP without training. The run in --out, which
predict.py and demo.py open, has page.html too: accuracy per class, and which classes and images are confused.
"""

import argparse
import inspect
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

KEYWORDS = {  # of fit, which has their defaults
    "method": "any trainer's name",
    "backbone": "MODEL.BACKBONE.NAME",
    "seed": "draws the few images, and trains",
}


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder of images per class")
    parser.add_argument("--names", default="", help="text file of class names without images, a name a line")
    parser.add_argument("--out", required=True, help="folder of the run that is written")
    parser.add_argument("--few", type=at_least(1), help="images per class to train on (default: all)")
    defaults = inspect.signature(fit).parameters
    for name, text in KEYWORDS.items():
        default = defaults[name].default
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{text} (default: {default})")
    parser.add_argument("--skip-bad-images", action="store_true", help="leave out images that cannot be read")
    return parser.parse_args(argv)


def main(argv=None):
    args, start = parse_args(argv), time.perf_counter()
    names = read_names(args.names, "--names") if args.names else []
    counts = Counter(from_folder(args.folder, ("train", ""))[1])
    least, most = min(counts.values()), max(counts.values())
    per_class = f"{least} to {most}" if least < most else least
    few = f"; {args.few} of each are trained on" if args.few and args.few < most else ""
    print(f"{args.folder}: {sum(counts.values())} images of {len(counts)} classes, {per_class} per class{few}")
    print(f"names without images: {', '.join(names) or 'none'}", flush=True)
    model = fit(
        args.folder,
        new_names=names,
        shots=args.few,
        out=args.out,
        skip_bad_images=args.skip_bad_images,
        **{name: getattr(args, name) for name in KEYWORDS},
    )
    print(model.scores)
    print(f"{time.perf_counter() - start:.0f} seconds; the model is in {args.out}")
    page = os.path.join(args.out, "page.html")
    if model.scores.with_images:
        write_page(page, model, args.folder)
        print(f"accuracy per class and confusions: {page}")
    print(f"type next: python scripts/predict.py {args.out} photos/ --csv predictions.csv")


if __name__ == "__main__":
    say_errors(main)
