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

from datasets.prepare.prepare import check, prepare
from datasets.prepare.sources import SOURCES, markdown, source_of, table


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["list", "check", "prepare", "page"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--root", default="", help="folder that holds the datasets, or is to hold them")
    args = parser.parse_args(argv)
    if args.command in ("check", "prepare") and not (args.names and args.root):
        parser.error(f"which dataset, and where? python scripts/data.py {args.command} NAME --root DATA")
    return args


def main(argv=None):
    """Exit code: 0 complete, 1 something is missing."""
    args = parse_args(argv)
    if args.command in ("list", "page"):
        print(table("simple", args.root) if args.command == "list" else markdown())
        return 0
    sources = SOURCES.values() if "all" in args.names else [source_of(name) for name in args.names]
    complete, faults = True, []
    for source in sources:
        try:
            complete &= {"check": check, "prepare": prepare}[args.command](source, args.root)
        except UserError as error:  # with several names, one that fails must not keep the others from being prepared
            faults.append(str(error))
    if faults:
        raise UserError("\n\n".join(faults))
    return 0 if complete else 1


if __name__ == "__main__":
    say_errors(main)
