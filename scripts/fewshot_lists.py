"""Writes the few-shot lists of datasets/fewshot/ from CoOp's split files, or checks that they are what this would
write.

    python scripts/fewshot_lists.py SPLITS           SPLITS: a folder with split_zhou_<Reader>.json files
    python scripts/fewshot_lists.py SPLITS --check
"""

import argparse
import os

import _path  # noqa: F401
from dassl.utils import UserError, atomic_path, read_text
from lib.faults import say_errors

from datasets.core import lists
from datasets.core.splits import read_split

PREFIX = "split_zhou_"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("splits", help="folder with split_zhou_<Reader>.json files")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a list differs or is missing")
    args = parser.parse_args(argv)
    files = sorted(name for name in os.listdir(args.splits) if name.startswith(PREFIX) and name.endswith(".json"))
    if not files:
        raise UserError(f"{args.splits} holds no {PREFIX}<Reader>.json")
    stale = []
    for file in files:
        name = file.removeprefix(PREFIX).removesuffix(".json")
        split = read_split(os.path.join(args.splits, file))
        for seed in lists.SEEDS:
            path, text = lists.text_of(split, name, seed)
            if not args.check:
                with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as target:
                    target.write(text)
            elif not os.path.exists(path) or read_text(path, "a few-shot list") != text:
                stale.append(path)
            print(f"{'checked' if args.check else 'wrote'} {os.path.relpath(path)}")
    if stale:
        raise UserError(
            f"{len(stale)} lists are missing or differ: {', '.join(map(os.path.basename, stale))}. "
            "Write them without --check"
        )


if __name__ == "__main__":
    say_errors(main)
