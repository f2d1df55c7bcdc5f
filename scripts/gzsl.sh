#!/usr/bin/env bash
# Generalized zero-shot learning (the paper's Table 3), one run: trains on all images of the seen classes, evaluates seen
# and unseen test images over the names of both, mean accuracy of the classes.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

usage() {
  cat <<EOT
usage: bash scripts/gzsl.sh DATASET SEED [TRAINER [CFG]] [-- KEY VALUE ...]
  DATASET is cub, awa2 or flo with the Proposed Splits; of any other the base classes are seen, the new ones unseen
  TRAINER is CoOp_SHIP and CFG is miniclip_gzsl (miniclip, where the trainer has no such file) unless given
  KEY VALUE are configuration options, and name their own folder
  DATA=DIR   image root                     BANK=FILE   feature bank instead (both empty: the shipped one)
  OUTPUT=DIR folder of the results          PYTHON=..., VENV=DIR   the Python to use
The table of all runs: python scripts/report.py --table 3 output/gzsl
EOT
  list_choices
}

split_arguments "$@"
case ${ARGS[0]:-} in -h | --help) usage; exit 0 ;; esac
if [ ${#ARGS[@]} -lt 2 ] || [ ${#ARGS[@]} -gt 4 ]; then
  usage >&2
  exit 2
fi
trainer=${ARGS[2]:-CoOp_SHIP}
cfg=${ARGS[3]:-$(shortened "$trainer" miniclip_gzsl)}
check_choices "${ARGS[0]}" "${ARGS[1]}" "$trainer" "$cfg"
find_python
train_once gzsl "${ARGS[0]}" "${ARGS[1]}" "$trainer" "$cfg" -1 all ${OPTS[@]+"${OPTS[@]}"}
