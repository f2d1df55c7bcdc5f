#!/usr/bin/env bash
# Leave-classes-out, the judge for hyper-parameters, one run. Arguments: bash scripts/leave_classes_out.sh --help
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
find_python
exec "$PY" scripts/launch.py leave_classes_out "$@"
