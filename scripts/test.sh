#!/usr/bin/env bash
# Runs the tests: bash scripts/test.sh [pytest arguments], for example  bash scripts/test.sh tests/scripts -k report
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
bash scripts/setup.sh
exec "$VENV/bin/python" -m pytest -q --durations=10 "$@"
