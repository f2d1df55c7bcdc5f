#!/usr/bin/env bash
# Sets up, then runs five methods on the shipped Caltech101 features; then a table and a chart.
# bash scripts/quickstart.sh [--seeds 1 2 3] [--datasets caltech101 eurosat] [--output DIR]
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
bash scripts/setup.sh
exec "$VENV/bin/python" scripts/launch.py quickstart "$@"
