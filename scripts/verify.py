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
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import _path
import yaml
from dassl.data.datasets import DATASET_REGISTRY, build_dataset
from dassl.utils import UserError
from lib import verify as known
from lib.faults import say_errors
from safetensors import safe_open
from trainers.core.errors import nearest

import train
from trainers.core.model.prompts import templates_for

CONFIGS = Path(_path.ROOT, "configs")
OPTION = re.compile(r"[A-Z][A-Z0-9]*([._][A-Z0-9_]+)+")  # a configuration key, as DATASET.TEMPLATE or USE_CUDA
ROW = "{:<16}{:<16}{:<16}{:<16}{}"


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="verify.py [-h] [--root DATA] [--backbone NAME] [DATASET ...] [KEY VALUE ...]",
    )
    parser.add_argument("--root", default="", help="folder that holds the data sets; without it the shipped banks")
    parser.add_argument("--backbone", default="", help="as for train.py (default: ViT-B/16; MiniCLIP without --root)")
    parser.add_argument("words", nargs="*", metavar="DATASET", help="names, such as caltech101; then KEY VALUE options")
    args = parser.parse_intermixed_args(argv)
    first = next((i for i, word in enumerate(args.words) if OPTION.fullmatch(word)), len(args.words))
    args.names, args.options = args.words[:first], args.words[first:]
    args.backbone = args.backbone or ("ViT-B/16" if args.root else "MiniCLIP")
    return args


def readers():
    """{config name: reader's name} of all data sets."""
    files = sorted((CONFIGS / "datasets").glob("*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text(encoding="utf-8"))["DATASET"]["NAME"] for file in files}


def config_name(name):
    """caltech101 for caltech101 or Caltech101. Raises UserError."""
    spelt = {word.lower(): config for config, reader in readers().items() for word in (config, reader)}
    if name.lower() not in spelt:
        raise UserError(
            f"no data set is called '{name}'. Known, nearest first: {', '.join(nearest(name, readers()))}. "
            "Options follow as KEY VALUE, such as DATASET.TEMPLATE"
        )
    return spelt[name.lower()]


def chosen(args):
    """Config names of the data sets to verify, and of those that are not there. Raises UserError where none is."""
    root = os.path.expanduser(args.root)
    if args.root and not os.path.isdir(root):
        raise UserError(f"--root {args.root} is not a folder; it is the folder that holds the data sets' folders")
    if args.names:
        return list(dict.fromkeys(map(config_name, args.names))), []
    place = {config: DATASET_REGISTRY.get(readers()[config]).dataset_dir for config in known.known_data()}
    if not args.root:
        ending = f"_{args.backbone.lower().replace('/', '-')}.safetensors"
        there = [name for name in place if os.path.isfile(os.path.join(train.BANKS, name + ending))]
        if not there:
            raise UserError(f"no feature bank of {args.backbone} is shipped. Give --root DATA, the data sets' folder")
        return there, []
    there = [name for name in place if os.path.isdir(os.path.join(root, place[name]))]
    if not there:
        raise UserError(
            f"none of the data sets' folders is below {args.root}: {', '.join(place.values())}. "
            f"To get one: python scripts/data.py prepare NAME --root {args.root}"
        )
    return there, [name for name in place if name not in there]


def command_line(args, config, out):
    """The words of train.py for zero-shot CLIP; options of the user come last."""
    file = "miniclip" if args.backbone == "MiniCLIP" else "vit_b16"
    return [
        *("--trainer", "ZeroshotCLIP", "--backbone", args.backbone, "--output-dir", out, "--root", args.root),
        *("--dataset-config-file", str(CONFIGS / f"datasets/{config}.yaml")),
        *("--config-file", str(CONFIGS / f"trainers/ZeroshotCLIP/{file}.yaml")),
        # no few-shot draw: nothing is trained, and none is written into DATA
        *("TASK", "base2new", "DATASET.NUM_SHOTS", "-1", "VERBOSE", "False", *args.options),
    ]


def measure(args, config):
    """-> known.Found: a run of train.py in a temporary folder, and what it used. Raises UserError."""
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()):
        words = command_line(args, config, out)
        train.main(words)
        with open(os.path.join(out, "results.json"), encoding="utf-8") as file:
            record = json.load(file)
        cfg = train.setup_cfg(train.parse_args(words))
        cfg.defrost()
        cfg.merge_from_file(os.path.join(out, "config.yaml"))  # with the preprocessing that the run came to
        cfg.DATASET.SUBSAMPLE_CLASSES = "all"
        dataset = build_dataset(cfg)
    return known.Found(
        metrics=record["metrics"],
        backbone=record["backbone"]["name"],
        sha256=record["backbone"]["sha256"],
        split_hash=record["split_hash"],
        names=record["classnames_hash"],
        classes=len(dataset.classnames),
        sizes=tuple(len(part or []) for part in (dataset.train_x, dataset.val, dataset.test)),
        templates=templates_for(cfg.DATASET.NAME, cfg.DATASET.TEMPLATE),
        bank=bank_preprocessing(cfg.FEATURES.BANK),
        cfg=cfg,
    )


def bank_preprocessing(path):
    """How a bank's header says its images were preprocessed; None without a bank."""
    if not path:
        return None
    with safe_open(path, framework="numpy") as bank:
        return json.loads((bank.metadata() or {}).get("preprocess", "{}"))


def judge(found, config):
    """-> (verdict, the rest of its line, {metric: known percent}, note)."""
    data, backbone = known.known_data().get(config), known.known_backbone(found.backbone, found.sha256)
    wanted = {}
    if data and backbone:
        wanted = backbone.figures.get(config, {}).get(data.closest(found.split_hash, found.sizes), {})
    verdict, lines = known.verdict(found.metrics, wanted), known.causes(found, data, backbone)
    reason = "; ".join(lines)
    if verdict == "unknown":
        of = f"{config} with {found.backbone} on split {found.split_hash}"
        return verdict, f"warning: no figure is known of {of}{'; ' if lines else ''}{reason}", wanted, ""
    if verdict == "different":
        kept = found.cfg.FEATURES.BANK or found.cfg.FEATURES.DIR
        reason = reason or (
            "split, template, preprocessing and weights are as known; left are changed images, and features in "
            f"{kept} that other code made (FEATURES.DIR NEW_FOLDER encodes again)"
        )
        return verdict, f"different: {reason}", wanted, backbone.note
    reduced = found.split_hash in data.splits and found.split_hash != data.full
    rest = " (reduced split)" * reduced + (f", although {reason}" if lines else "")
    return verdict, verdict + rest, wanted, backbone.note


def cell(name, measured, wanted):
    if name not in measured:
        return "-"
    return f"{measured[name]:.2f} ({format(wanted[name], '.2f') if name in wanted else '-'})"


def main(argv=None):
    """Prints a line a data set. -> exit code."""
    args = parse_args(argv)
    names, missing = chosen(args)
    print(f"zero-shot accuracy with {args.backbone} in percent, the known figure in brackets")
    print(ROW.format("data set", *known.METRICS, "verdict"), flush=True)
    verdicts, notes, last = [], [], ""
    for name in names:
        try:
            found = measure(args, name)
        except UserError as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            verdicts.append("error")
            if str(error) == last:  # not of this data set: a backbone that is unknown, or cannot be downloaded
                break
            last = str(error)
            continue
        verdict, text, wanted, note = judge(found, name)
        print(ROW.format(name, *(cell(metric, found.metrics, wanted) for metric in known.METRICS), text), flush=True)
        verdicts.append(verdict)
        notes.append(note)
    if missing:
        print(f"not below {args.root}: {', '.join(missing)}")
    for note in filter(None, dict.fromkeys(notes)):
        print(note)
    return 2 if "error" in verdicts else 1 if "different" in verdicts else 0


if __name__ == "__main__":
    say_errors(main)
