#!/usr/bin/env bash
# Runs the tests: bash scripts/test.sh [pytest arguments], for example  bash scripts/test.sh tests/scripts -k report
# What is marked slow or chaos runs where it is asked for:  bash scripts/test.sh -m chaos tests/chaos
# JOBS=2 processes side by side, each with one thread: the tests are many and small.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
bash scripts/setup.sh
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "$VENV/bin/python" -m pytest -q --numprocesses "${JOBS:-2}" --dist loadscope --durations=10 "$@"
