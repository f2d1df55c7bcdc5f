#!/usr/bin/env bash
# Makes the Python environment: bash scripts/setup.sh
#
# Safe to repeat: a finished set-up is recognised at once, one that was interrupted is made again, one whose
# requirements.txt has changed is brought up to date. VENV=DIR takes another folder, also an environment of your own
# (it is never cleared; pip only adds what is missing). PYTHON=... chooses the interpreter. pip's own settings apply.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

find_base_python() {
  local candidate found=""
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.10 python; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    if is_recent "$candidate"; then
      BASE_PYTHON=$candidate
      return
    fi
    found="$found
  $(command -v "$candidate"): $("$candidate" --version 2>&1 | head -n 1)"
  done
  die "Python 3.10 or newer is needed, found: ${found:-none}
Install one, or name it: PYTHON=/path/to/python3 bash scripts/setup.sh"
}

make_environment() { # in an absent or empty folder, or in one of ours, whose contents go
  find_base_python
  "$BASE_PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
    die "$BASE_PYTHON has no venv module (on Debian and Ubuntu: apt install python3-venv)"
  echo "set-up: making $VENV with $("$BASE_PYTHON" --version 2>&1)"
  mkdir -p "$VENV"
  : >"$OURS" # first, so that an interruption from here on is noticed and repaired
  find "$VENV" -mindepth 1 -maxdepth 1 ! -name .ship-made -exec rm -rf {} +
  "$BASE_PYTHON" -m venv "$VENV" || die "could not make the environment $VENV"
}

is_set_up && exit 0

OURS="$VENV/.ship-made" # marks an environment that this script made; no other is ever cleared
if [ -e "$OURS" ] && [ -e "$VENV_READY" ] && is_recent "$VENV/bin/python"; then
  echo "set-up: requirements.txt has changed"
elif [ -e "$OURS" ]; then
  echo "set-up: $VENV is not complete, starting afresh"
  make_environment
elif [ -x "$VENV/bin/python" ]; then
  is_recent "$VENV/bin/python" || die "the environment $VENV has $("$VENV/bin/python" --version 2>&1); 3.10 or newer is needed.
Remove it, or choose another folder: VENV=DIR bash scripts/setup.sh"
elif [ -z "$(ls -A "$VENV" 2>/dev/null)" ]; then
  make_environment
else
  die "$VENV is neither empty nor a working Python environment; remove it, or choose another folder: VENV=DIR"
fi

rm -f "$VENV_READY"
echo "set-up: installing requirements.txt into $VENV (PyTorch alone can be some GB; this takes minutes)"
"$VENV/bin/python" -m pip install --disable-pip-version-check -r requirements.txt ||
  die "installing requirements.txt failed (pip says why above); run the same command again to repeat it"
"$VENV/bin/python" -W ignore -c 'import torch, torchvision, clip, yacs' ||
  die "the packages are installed in $VENV, but do not import (see above)"
cp requirements.txt "$VENV_READY.part"
mv "$VENV_READY.part" "$VENV_READY"
echo "set-up: done"
