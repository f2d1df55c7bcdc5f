#!/usr/bin/env bash
# The paper's Table 1 on datasets of choice: every method, several seeds, then the table. Arguments: bash scripts/table1.sh --help
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
find_python
exec "$PY" scripts/launch.py table1 "$@"
