#!/usr/bin/env bash
# Domain generalization by CoCoOp's protocol: a method trained on all classes of ImageNet, evaluated on ImageNetV2,
# -Sketch, -A and -R, each with its own classes.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

usage() {
  cat <<EOT
usage: bash scripts/domain_generalization.sh SEED [TRAINER [CFG]] [-- KEY VALUE ...]
  TRAINER is CoOp and CFG is vit_b16_ep50_ctxv1 unless given
  KEY VALUE are configuration options of all runs, and name their own folder
  SOURCE=imagenet    TARGETS="imagenetv2 imagenet_sketch imagenet_a imagenet_r"
  SHOTS=16   images per class of the source DATA=DIR    image root (empty: the shipped feature banks)
  OUTPUT=DIR folder of the results          PYTHON=..., VENV=DIR   the Python to use
The table: python scripts/report.py --layout paper output/domain_generalization
EOT
  list_choices
}

split_arguments "$@"
case ${ARGS[0]:-} in -h | --help) usage; exit 0 ;; esac
if [ ${#ARGS[@]} -lt 1 ] || [ ${#ARGS[@]} -gt 3 ]; then
  usage >&2
  exit 2
fi
seed=${ARGS[0]} trainer=${ARGS[1]:-CoOp} source=${SOURCE:-imagenet} shots=${SHOTS:-16}
cfg=${ARGS[2]:-$(shortened "$trainer" vit_b16_ep50_ctxv1)}
targets=(${TARGETS:-imagenetv2 imagenet_sketch imagenet_a imagenet_r})
for dataset in "$source" "${targets[@]}"; do
  check_choices "$dataset" "$seed" "$trainer" "$cfg"
done
find_python
suffix=$(options_suffix ${OPTS[@]+"${OPTS[@]}"})
if [ "$trainer" = ZeroshotCLIP ]; then # has nothing to take along
  for target in "${targets[@]}"; do
    train_once domain_generalization "$target" "$seed" "$trainer" "$cfg" "$shots" all ${OPTS[@]+"${OPTS[@]}"}
  done
  exit 0
fi
origin=$(run_folder fewshot "$source" "$seed" "$trainer" "$cfg$suffix" "$shots")
train_in "$origin" fewshot "$source" "$seed" "$trainer" "$cfg" "$shots" all ${OPTS[@]+"${OPTS[@]}"}
for target in "${targets[@]}"; do
  folder=$(run_folder domain_generalization "$target" "$seed" "$trainer" "$cfg-from_$source$suffix" "$shots")
  train_in "$folder" domain_generalization "$target" "$seed" "$trainer" "$cfg" "$shots" all \
    ${OPTS[@]+"${OPTS[@]}"} MODEL.INIT_WEIGHTS "$origin"
done
