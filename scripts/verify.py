"""Checks data, split, prompts and weights before anything is trained: zero-shot accuracy beside the known figures.

    python scripts/verify.py                                the shipped feature banks, with MiniCLIP
    python scripts/verify.py --root DATA                    every data set of Table 1 below DATA, with ViT-B/16
    python scripts/verify.py --root DATA dtd eurosat        these two
    python scripts/verify.py caltech101 DATASET.TEMPLATE "a blurry photo of a {}."     with options of train.py

Each data set gets a line: accuracy on base, new and all classes, the known figure in brackets, and a verdict. It is
`equal` within 0.1, `near` within 0.5, else `different` with what was found to differ: split, template, preprocessing or
weights. The image features stay in FEATURES.DIR, where training finds them.

Exit code: 0 all known figures are equal or near, 1 one is different, 2 something cannot be checked.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

import _path
from dassl.data.datasets import DATASET_REGISTRY, build_dataset
from lib.faults import say_errors
from lib.verify import DATASETS, METRICS, SOURCE, TRAINER, Measured, judge, known_page

import train
from trainers import run_config
from trainers.core.files import RESULTS, UserError, nearest, read_results

CONFIGS = Path(_path.ROOT, "configs")
ROW = "{:<16}{:<16}{:<16}{:<16}{}"


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="", help="folder that holds the data sets; without it the shipped banks")
    parser.add_argument("--backbone", default="", help="as for train.py (default: ViT-B/16; MiniCLIP without --root)")
    parser.add_argument("words", nargs="*", metavar="DATASET", help="names, such as caltech101; then KEY VALUE options")
    args = parser.parse_intermixed_args(argv)
    first = next((i for i, word in enumerate(args.words) if "." in word), len(args.words))
    args.names, args.options = [word.lower() for word in args.words[:first]], args.words[first:]
    args.backbone = args.backbone or ("ViT-B/16" if args.root else "MiniCLIP")
    return args


def chosen(args):
    """Config names of the data sets to verify: those named, else those that are there. Raises UserError."""
    known = [path.stem for path in CONFIGS.glob("datasets/*.yaml")]
    for name in args.names:
        if name not in known:
            raise UserError(f"no data set is called '{name}'. Known, nearest first: {', '.join(nearest(name, known))}")
    if args.names:
        return args.names
    bank = f"{{}}_{args.backbone.lower().replace('/', '-')}.safetensors"
    place = {name: train.BANKS / bank.format(name) for name in SOURCE}
    if args.root:
        place = {name: Path(args.root, DATASET_REGISTRY.get(SOURCE[name].reader).dataset_dir) for name in SOURCE}
    there = [name for name in place if place[name].exists()]
    if not there:
        raise UserError(
            f"expected {place['caltech101']}, or that of another data set of Table 1; found none. --root names the "
            "folder of all data sets; python scripts/data.py prepare caltech101 --root DATA gets one"
        )
    if args.root and len(there) < len(place):
        print(f"not below {args.root}: {', '.join(name for name in place if name not in there)}")
    return there


def measure(args, config):
    """-> Measured of zero-shot CLIP, by a run of train.py in a temporary folder. Raises UserError."""
    file = "miniclip" if args.backbone == "MiniCLIP" else "vit_b16"
    words = ["--trainer", TRAINER, "--config-file", str(CONFIGS / f"trainers/{TRAINER}/{file}.yaml")]
    words += ["--root", args.root, "--dataset-config-file", str(CONFIGS / f"datasets/{config}.yaml")]
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()):
        words += ["--backbone", args.backbone, "--output-dir", out]
        # NUM_SHOTS -1: no few-shot draw, which would be written into DATA
        train.main([*words, "TASK", "base2new", "DATASET.NUM_SHOTS", "-1", "VERBOSE", "False", *args.options])
        record, cfg = read_results(os.path.join(out, RESULTS)), run_config(out)
        cfg.DATASET.SUBSAMPLE_CLASSES = "all"
        dataset = build_dataset(cfg)
    sizes = [len(part or ()) for part in (dataset.train_x, dataset.val, dataset.test)]
    return Measured(record, cfg, len(dataset.classnames), sizes)


def line(config, run, verdict, known, causes):
    """A data set's line of the table."""
    metrics, kept = run.record["metrics"], run.cfg.FEATURES.BANK or run.cfg.FEATURES.DIR
    cells = [f"{percent(metrics, name)} ({percent(known, name)})" for name in METRICS]
    if verdict == "different" and not causes:
        causes = [f"split, template, preprocessing, weights are as known; left are the images, or features in {kept}"]
    if run.record["split_hash"] in DATASETS.get(config, {}).get("reduced", ()):
        verdict = f"{verdict} (reduced split)"
    return ROW.format(config, *cells, ": ".join(filter(None, [verdict, "; ".join(causes)])))


def percent(figures, name):
    return f"{figures[name]:.2f}" if name in figures else "-"


def main(argv=None):
    """Prints a line per data set. -> exit code."""
    args = parse_args(argv)
    names = chosen(args)
    print(f"zero-shot accuracy with {args.backbone} in percent, the known figure in brackets")
    if note := known_page(args.backbone).get("note"):
        print(note)
    print(ROW.format("data set", *METRICS, "verdict"), flush=True)
    code = 0
    for name in names:
        try:
            run = measure(args, name)
            verdict, known, causes = judge(run, name)
            print(line(name, run, verdict, known, causes), flush=True)
            code = max(code, int(verdict == "different"))
        except UserError as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    say_errors(main)
