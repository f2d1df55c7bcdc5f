# Shared by the scripts beside it: `source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"`. Works with bash 3.2 (macOS).
#
# Environment variables that every script understands:
#   VENV    folder of the virtual environment; default .venv in the repository
#   PYTHON  set-up: the Python that makes the environment; training scripts: the Python that runs train.py
# and the training scripts, beside those of their own (--help):
#   DATA    image root in CoOp's layout; empty: a feature bank
#   BANK    feature bank to use; empty: the one that ships with the repository
#   OUTPUT  folder of the results; default output in the repository
set -euo pipefail
trap 'exit 130' INT # also where the interrupt reached this shell alone: the next step is not begun

die() {
  echo "error: $*" >&2
  exit 2
}

absolute() { # PATH, seen from where the user stands
  case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac
}

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export SHIP_CALLED_FROM="$PWD" # where the user stands: paths among the arguments are seen from there
VENV_IS_DEFAULT=$([ -n "${VENV:-}" ] && echo no || echo yes)
VENV="$(absolute "${VENV:-$ROOT/.venv}")"
VENV_READY="$VENV/.ship-ready" # a copy of the requirements.txt that is installed there, written last
for name in DATA BANK OUTPUT; do
  [ -z "${!name:-}" ] || export "$name=$(absolute "${!name}")"
done
cd "$ROOT"

is_set_up() {
  [ -x "$VENV/bin/python" ] && cmp -s "$ROOT/requirements.txt" "$VENV_READY"
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

# Sets PY, the Python that runs train.py: the user's own choice, else ours when it is complete, else the active environment.
find_python() {
  if [ -n "${PYTHON:-}" ]; then
    PY=$PYTHON
  elif [ "$VENV_IS_DEFAULT" = no ]; then
    PY="$VENV/bin/python"
    [ -x "$PY" ] || die "VENV=$VENV holds no environment; make it with  VENV=$VENV bash scripts/setup.sh"
  elif is_set_up; then
    PY="$VENV/bin/python"
  elif [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
    PY=python
  else
    die "no Python environment is set up; run  bash scripts/setup.sh  (or name your own: PYTHON=... or VENV=...)"
  fi
}
