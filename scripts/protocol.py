#!/usr/bin/env python3
"""What the bash scripts run: python scripts/protocol.py base2new caltech101 1 CoOp  (the rest: base2new.sh --help)."""

import sys

from lib.cli import main
from lib.faults import say_errors
from lib.protocols import PROTOCOLS

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in PROTOCOLS:
        sys.exit(print(f"usage: python scripts/protocol.py {'|'.join(PROTOCOLS)} --help", file=sys.stderr) or 2)
    say_errors(main, sys.argv[1], sys.argv[2:])
