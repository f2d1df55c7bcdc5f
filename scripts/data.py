"""Gets and checks the datasets.

    python scripts/data.py list [--root DATA]            what there is, and what of it is below DATA
    python scripts/data.py check NAME... --root DATA     what is there, what is missing; exit code 1 if something is
    python scripts/data.py prepare NAME... --root DATA   download, unpack, put in place, check; goes on where it stopped
    python scripts/data.py page                          prints DATASETS.md

NAME is a dataset's name or that of its config, such as Caltech101 or caltech101, or `all`.
"""

import argparse

import _path  # noqa: F401
from dassl.utils import UserError
from lib.faults import say_errors
from tabulate import tabulate

from datasets.prepare.check import check, reader_name
from datasets.prepare.page import markdown
from datasets.prepare.prepare import prepare
from datasets.prepare.sources import SOURCES


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["list", "check", "prepare", "page"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--root", default="", help="folder that holds the datasets")
    parser.add_argument("--keep-archives", action="store_true", help="keep downloaded archives in ROOT/.prepare")
    args = parser.parse_args(argv)
    if args.command in ("check", "prepare"):
        if not args.names:
            parser.error(
                f"which dataset? python scripts/data.py {args.command} NAME --root DATA (names: scripts/data.py list)"
            )
        if not args.root:
            parser.error("--root DATA is missing: the folder that holds the datasets, or is to hold them")
    return args


def table(root):
    """One row a dataset; with a root, how many of its parts are there."""
    rows = []
    for source in SOURCES.values():
        row = [source.reader, source.config, f"{sum(source.sizes):,}", source.classes, source.licence]
        if root:
            parts = len(source.places())
            row.append(f"{parts - len(source.missing(root))} of {parts} parts")
        rows.append(row)
    heads = ["dataset", "config", "images", "classes", "licence", *(["there"] if root else [])]
    return tabulate(rows, heads, disable_numparse=True)


def main(argv=None):
    """Exit code: 0 complete, 1 something is missing."""
    args = parse_args(argv)
    if args.command in ("list", "page"):
        print(table(args.root) if args.command == "list" else markdown().rstrip("\n"))
        return 0
    complete, faults = True, []
    for name in list(SOURCES) if "all" in args.names else [reader_name(name) for name in args.names]:
        try:
            if args.command == "check":
                complete &= check(name, args.root)
            else:
                complete &= prepare(name, args.root, args.keep_archives)
        except UserError as error:  # with several names, one that fails must not keep the others from being prepared
            faults.append(str(error))
    if faults:
        raise UserError("\n\n".join(faults))
    return 0 if complete else 1


if __name__ == "__main__":
    say_errors(main)
