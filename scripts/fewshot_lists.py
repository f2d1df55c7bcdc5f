"""Writes the few-shot lists of datasets/fewshot/ from CoOp's split files, or checks that they are what this would
write.

python scripts/fewshot_lists.py SPLITS           SPLITS: a folder with split_zhou_<Reader>.json files python
scripts/fewshot_lists.py SPLITS --check
"""

import argparse
import filecmp
import os
import sys
import tempfile

import _path  # noqa: F401
from dassl.utils import UserError

from datasets import fewshot_lists
from datasets.splits import read_split, split_hash

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
        for seed in fewshot_lists.SEEDS:
            path = fewshot_lists.list_path(name, split_hash(split), seed)
            with tempfile.TemporaryDirectory() as folder:
                target = os.path.join(folder, "list.txt") if args.check else path
                fewshot_lists.write(split, target, seed, f"{name}, split {split_hash(split)}")
                if args.check and not (os.path.exists(path) and filecmp.cmp(target, path, shallow=False)):
                    stale.append(path)
            print(f"{'checked' if args.check else 'wrote'} {os.path.relpath(path)}")
    if stale:
        raise UserError(
            f"{len(stale)} lists are missing or differ: {', '.join(map(os.path.basename, stale))}. "
            "Write them without --check"
        )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
