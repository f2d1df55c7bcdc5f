#!/usr/bin/env bash
# Few-shot classification over all classes, at 1, 2, 4, 8 and 16 shots.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

usage() {
  cat <<EOF
usage: bash scripts/fewshot.sh DATASET SEED TRAINER [CFG] [-- KEY VALUE ...]
  CFG is miniclip unless given; KEY VALUE are configuration options, and name their own folder
  SHOTS="1 2 4 8 16"   images per class     DATA=DIR    image root (empty: the shipped feature bank)
  OUTPUT=DIR folder of the results          PYTHON=..., VENV=DIR   the Python to use
EOF
  list_choices
}

split_arguments "$@"
case ${ARGS[0]:-} in -h | --help) usage; exit 0 ;; esac
if [ ${#ARGS[@]} -lt 3 ] || [ ${#ARGS[@]} -gt 4 ]; then
  usage >&2
  exit 2
fi
cfg=${ARGS[3]:-miniclip}
check_choices "${ARGS[0]}" "${ARGS[1]}" "${ARGS[2]}" "$cfg"
find_python
for shots in ${SHOTS:-1 2 4 8 16}; do
  train_once fewshot "${ARGS[0]}" "${ARGS[1]}" "${ARGS[2]}" "$cfg" "$shots" all ${OPTS[@]+"${OPTS[@]}"}
done
