#!/usr/bin/env bash
# Generalized zero-shot learning (the paper's Table 3), one run. Arguments: bash scripts/gzsl.sh --help
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
find_python
exec "$PY" scripts/launch.py gzsl "$@"
