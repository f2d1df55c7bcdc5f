"""Gets and checks the datasets.

    python scripts/data.py list [--root DATA]            what there is, and what of it is below DATA
    python scripts/data.py check NAME... --root DATA     what is there, what is missing; exit code 1 if something is
    python scripts/data.py prepare NAME... --root DATA   download, unpack, put in place, check; goes on where it stopped
    python scripts/data.py page                          prints DATASETS.md

NAME is a dataset's name or that of its config, such as Caltech101 or caltech101, or `all`.
"""

import argparse
import sys

import _path  # noqa: F401
from dassl.utils import UserError
from tabulate import tabulate

import datasets  # noqa: F401  (registers the readers)
from datasets.page import markdown
from datasets.prepare import check, missing_places, prepare, reader_name
from datasets.sources import SOURCES


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
        there = (
            f"{len(source.places()) - len(missing_places(source, root))} of {len(source.places())} parts"
            if root
            else ""
        )
        rows.append([source.reader, source.config, f"{sum(source.sizes):,}", source.classes, source.licence, there])
    return tabulate(
        rows, ["dataset", "config", "images", "classes", "licence", "there" if root else ""], disable_numparse=True
    )


def main(argv=None):
    """Exit code: 0 complete, 1 something is missing."""
    args = parse_args(argv)
    if args.command == "list":
        print(table(args.root))
    elif args.command == "page":
        print(markdown(), end="")
    names = list(SOURCES) if "all" in args.names else [reader_name(name) for name in args.names]
    complete, faults = True, []
    for name in names if args.command in ("check", "prepare") else ():
        if args.command == "check":
            one, lines = check(name, args.root)
            print("\n".join(lines))
            complete &= one
            continue
        try:
            complete &= prepare(name, args.root, args.keep_archives)
        except UserError as error:  # with several names, one that fails must not keep the others from being prepared
            faults.append(str(error))
    if faults:
        raise UserError("\n\n".join(faults))
    return 0 if complete else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
