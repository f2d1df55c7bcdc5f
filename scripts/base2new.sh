#!/usr/bin/env bash
# Base-to-new generalization, one run. Arguments: bash scripts/base2new.sh --help
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
find_python
exec "$PY" scripts/launch.py base2new "$@"
