#!/usr/bin/env bash
# An ablation of the paper on one dataset: runs the four variants of CoOp + SHIP (base-to-new) and prints the table.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

usage() {
  cat <<EOT
usage: bash scripts/ablation.sh TABLE DATASET SEED [CFG] [-- KEY VALUE ...]
  TABLE is 4 (framework and generator), 5 (global prompts and sequential bias) or 6 (length of the prompts) of the paper
  CFG is miniclip unless given; KEY VALUE are configuration options of all four variants
  The variant that is the method as it is shares its run with base2new.sh; Table 4 also shows CoOp, where base2new.sh ran it
  SHOTS=16   images per base class          DATA=DIR    image root (empty: the shipped feature bank)
  OUTPUT=DIR folder of the results          PYTHON=..., VENV=DIR   the Python to use
EOT
  list_choices
}

split_arguments "$@"
case ${ARGS[0]:-} in -h | --help) usage; exit 0 ;; esac
if [ ${#ARGS[@]} -lt 3 ] || [ ${#ARGS[@]} -gt 4 ]; then
  usage >&2
  exit 2
fi
table=${ARGS[0]} dataset=${ARGS[1]} seed=${ARGS[2]} cfg=${ARGS[3]:-miniclip}
# options below TRAINER.SHIP, in the order of the rows and keys of configs/paper/table<n>.yaml
case $table in
  4) variants=("FRAMEWORK gan GENERATOR mlp" "GENERATOR mlp" "FRAMEWORK gan" "") ;;
  5) variants=("GLOBAL False" "" "GLOBAL False SEQUENTIAL True" "SEQUENTIAL True") ;;
  6) variants=("N_CTX 1" "N_CTX 2" "" "N_CTX 8") ;;
  *) die "TABLE is 4, 5 or 6, found '$table'" ;;
esac
check_choices "$dataset" "$seed" CoOp_SHIP "$cfg"
find_python
for variant in "${variants[@]}"; do
  options=()
  set -- $variant # unquoted: its words
  while [ $# -gt 0 ]; do
    options+=("TRAINER.SHIP.$1" "$2")
    shift 2
  done
  train_once base2new "$dataset" "$seed" CoOp_SHIP "$cfg" "${SHOTS:-16}" base \
    ${OPTS[@]+"${OPTS[@]}"} ${options[@]+"${options[@]}"}
done
"$PY" scripts/report.py --table "$table" "$OUTPUT/base2new/$dataset"
