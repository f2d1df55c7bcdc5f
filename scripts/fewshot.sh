#!/usr/bin/env bash
# Few-shot classification over all classes, at 1, 2, 4, 8 and 16 shots. Arguments: bash scripts/fewshot.sh --help
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
find_python
exec "$PY" scripts/launch.py fewshot "$@"
