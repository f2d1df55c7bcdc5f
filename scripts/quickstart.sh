#!/usr/bin/env bash
# Sets up, then runs zero-shot, CoOp and CoOp + SHIP on the shipped Caltech101 features and prints the table.
# bash scripts/quickstart.sh [--seeds 1 2 3] [--datasets caltech101 eurosat] [--output DIR]
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
bash scripts/setup.sh
exec "$VENV/bin/python" scripts/launch.py quickstart "$@"
