#!/usr/bin/env bash
# Every table of SHIP's paper on a GPU machine, each cell beside the paper's. Arguments: bash scripts/reproduce.sh --help
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
find_python
exec "$PY" scripts/reproduce.py "$@"
