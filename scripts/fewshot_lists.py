"""Writes the few-shot lists of datasets/fewshot/ from CoOp's split_zhou_<Reader>.json in the folder SPLITS.

python scripts/fewshot_lists.py SPLITS
"""

import argparse
from pathlib import Path

import _path  # noqa: F401
from dassl.utils import UserError, atomic_path
from lib.faults import say_errors

from datasets.core import lists
from datasets.core.splits import read_split


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("splits", type=Path, help="folder with split_zhou_<Reader>.json files")
    args = parser.parse_args(argv)
    files = sorted(args.splits.glob("split_zhou_*.json"))
    if not files:
        raise UserError(f"{args.splits} holds no split_zhou_<Reader>.json")
    for file in files:
        split = read_split(file)
        for seed in lists.SEEDS:
            path, text = lists.text_of(split, file.stem.removeprefix("split_zhou_"), seed)
            with atomic_path(path) as temporary:
                Path(temporary).write_text(text, encoding="utf-8")
            print(f"wrote {path}")


if __name__ == "__main__":
    say_errors(main)
