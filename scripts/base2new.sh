#!/usr/bin/env bash
# Base-to-new generalization, one run: trains on the base classes, evaluates base, new, all and H.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

usage() {
  cat <<EOF
usage: bash scripts/base2new.sh DATASET SEED [TRAINER [CFG]] [-- KEY VALUE ...]
  TRAINER is CoOp_SHIP and CFG is miniclip unless given; KEY VALUE are configuration options, and name their own folder
  SHOTS=16   images per base class          DATA=DIR    image root (empty: the shipped feature bank)
  OUTPUT=DIR folder of the results          PYTHON=..., VENV=DIR   the Python to use
EOF
  list_choices
}

split_arguments "$@"
case ${ARGS[0]:-} in -h | --help) usage; exit 0 ;; esac
if [ ${#ARGS[@]} -lt 2 ] || [ ${#ARGS[@]} -gt 4 ]; then
  usage >&2
  exit 2
fi
trainer=${ARGS[2]:-CoOp_SHIP}
cfg=${ARGS[3]:-miniclip}
check_choices "${ARGS[0]}" "${ARGS[1]}" "$trainer" "$cfg"
find_python
train_once base2new "${ARGS[0]}" "${ARGS[1]}" "$trainer" "$cfg" "${SHOTS:-16}" base ${OPTS[@]+"${OPTS[@]}"}
