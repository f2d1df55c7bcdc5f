"""Checks data, split, prompts and weights before anything is trained: zero-shot accuracy beside the known figures.

    python scripts/verify.py                                the shipped feature banks, with MiniCLIP
    python scripts/verify.py --root DATA                    every data set of Table 1 below DATA, with ViT-B/16
    python scripts/verify.py --root DATA dtd eurosat        these two
    python scripts/verify.py caltech101 DATASET.TEMPLATE "a blurry photo of a {}."     with options of train.py

Each data set gets a line: accuracy on base, new and all classes, the known figure (configs/papers/zeroshot/) in
brackets, and a verdict. It is `equal` within 0.1, `near` within 0.5, else `different` with what was found to differ:
split, template, preprocessing or weights (`data.py check` counts the images). The published figures were measured in
fp16; fp32 on a CPU may differ by some hundredths. The image features stay in FEATURES.DIR, where training finds them.

Exit code: 0 all known figures are equal or near, 1 one is different, 2 something cannot be checked.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path

import _path
import yaml
from dassl.data.datasets import DATASET_REGISTRY
from lib.faults import say_errors

import train
from datasets.prepare.sources import SOURCES
from trainers.core.bank_header import read_bank_header
from trainers.core.files import RESULTS, UserError, read_results

CONFIGS = Path(_path.ROOT, "configs")
METRICS = ("base", "new", "all")
ROW = "{:<16}{:<16}{:<16}{:<16}{}"
EQUAL, NEAR = 0.1, 0.5  # points of percent
NOTHING = "split, template, preprocessing and weights are as known; left are the images, or their cached features"


def read(name):
    return yaml.safe_load((CONFIGS / f"papers/zeroshot/{name}.yaml").read_text(encoding="utf-8"))


TRAINER, DATASETS = read("benchmark").values()
PAGES = [read("miniclip"), read("vit_b16")]
SOURCE = {source.config: source for source in SOURCES.values() if source.config in DATASETS}


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
    """Config names of the data sets to verify: those named, else those of Table 1 that are there. Raises UserError."""
    place = {name: Path(args.root, DATASET_REGISTRY.get(SOURCE[name].reader).dataset_dir) for name in SOURCE}
    if not args.root:
        end = args.backbone.lower().replace("/", "-")
        place = {name: train.BANKS / f"{name}_{end}.safetensors" for name in SOURCE}
    names = args.names or [name for name in place if place[name].exists()]
    if not names:
        raise UserError(f"expected {place['caltech101']}, or that of another data set of Table 1, and found none")
    return names


def measure(args, config):
    """What results.json says of zero-shot CLIP, by a run of train.py in a temporary folder. Raises UserError."""
    file = "miniclip" if args.backbone == "MiniCLIP" else "vit_b16"
    words = ["--trainer", TRAINER, "--config-file", str(CONFIGS / f"trainers/{TRAINER}/{file}.yaml")]
    words += ["--root", args.root, "--dataset-config-file", str(CONFIGS / f"datasets/{config}.yaml")]
    # NUM_SHOTS -1: no few-shot draw, which would be written into DATA
    options = ["TASK", "base2new", "DATASET.NUM_SHOTS", "-1", "VERBOSE", "False", *args.options]
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()):
        train.main([*words, "--backbone", args.backbone, "--output-dir", out, *options])
        return read_results(os.path.join(out, RESULTS))


def judge(record, config):
    """-> (verdict, {metric: known percent}, the causes found). The verdict is equal, near or different, by the largest
    difference, or unknown where no figure is known of the backbone, which its hash or its name tells."""
    name, sha256 = record["backbone"]["name"], record["backbone"]["sha256"]
    page = next((page for page in PAGES if sha256 == page["sha256"] or name in (page["backbone"], *page["also"])), None)
    known = page["reduced"].get(record["split_hash"], page["figures"].get(config)) if page else None
    if not known:
        return "unknown", {}, []
    gap = max(abs(round(record["metrics"][name], 2) - known[name]) for name in known) - 1e-9  # 0.1 in binary is not 0.1
    verdict = "equal" if gap <= EQUAL else "near" if gap <= NEAR else "different"
    found = list(causes(record, config, page))
    return verdict, known, found or [NOTHING] * (verdict == "different")


def causes(record, config, page):
    """What is not as it was where the known figures were measured, the likeliest cause first."""
    expected, backbone, split = DATASETS[config], record["backbone"], record["split_hash"]
    full = next((part.split_hash for part in SOURCE[config].resources if part.split_hash), "")
    if split != full and split not in page["reduced"]:
        if record["classnames_hash"] != expected["names"]:
            yield "split: class names, or their order, differ"
        if full:  # it is not known of every data set
            yield f"split: hash {split} instead of {full}"
    template = record["identity"]["template"]
    if template != expected["template"]:
        yield f'template: "{template}", the figure belongs to "{expected["template"]}"'
    if record["bank"]:  # of images it is the backbone's own, or an error
        used = json.loads(read_bank_header(record["bank"]["path"]).get("preprocess", "{}"))
        for name, value in page["preprocessing"].items():
            if used.get(name, value) != value:
                yield f"preprocessing: {name} {used[name]}, expected {value}"
    # under another name of the same weights, the hash is of open_clip's tensors and not of OpenAI's file
    if backbone["sha256"] != page["sha256"] and backbone["name"] not in page["also"]:
        yield f"weights: sha256 {backbone['sha256'][:12]}, {page['backbone']}'s is {page['sha256'][:12]}"


def main(argv=None):
    """Prints a line per data set. -> exit code."""
    args = parse_args(argv)
    names = chosen(args)
    print(f"zero-shot accuracy with {args.backbone} in percent, the known figure in brackets")
    print(ROW.format("data set", *METRICS, "verdict"), flush=True)
    code = 0
    for name in names:
        try:
            record = measure(args, name)
        except UserError as error:
            print(f"{name}: {error}", file=sys.stderr)
            code = 2
            continue
        verdict, known, found = judge(record, name)
        cells = [f"{record['metrics'][key]:.2f} ({f'{known[key]:.2f}' if known else '-'})" for key in METRICS]
        print(ROW.format(name, *cells, f"{verdict}: {'; '.join(found)}" if found else verdict), flush=True)
        code = max(code, int(verdict == "different"))
    return code


if __name__ == "__main__":
    say_errors(main)
