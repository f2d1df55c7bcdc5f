#!/usr/bin/env bash
# Cross-dataset transfer (the paper's Table 2): one source, then each target. Arguments: bash scripts/cross_dataset.sh --help
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
find_python
exec "$PY" scripts/launch.py cross_dataset "$@"
