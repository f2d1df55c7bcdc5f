#!/usr/bin/env bash
# An ablation on one dataset: the variants of configs/sweeps/ablation_<TABLE>.yaml. Arguments: bash scripts/ablation.sh --help
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
find_python
exec "$PY" scripts/launch.py ablation "$@"
