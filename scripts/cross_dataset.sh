#!/usr/bin/env bash
# Cross-dataset transfer (the paper's Table 2): CoOp and SHIP's generator are trained on all classes of a source once. On
# each target: zero-shot, the source's CoOp as it is, and CoOp fine-tuned on features that the generator makes of the
# target's class names.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

PAPERS="imagenet caltech101 oxford_pets stanford_cars oxford_flowers food101 fgvc_aircraft sun397 dtd eurosat ucf101"

usage() {
  cat <<EOT
usage: bash scripts/cross_dataset.sh SOURCE SEED [TARGET ...] [-- KEY VALUE ...]
  TARGETs are the paper's other datasets unless given (without DATA: those whose feature bank is shipped)
  KEY VALUE are configuration options of all runs, and name their own folder
  CFG=miniclip       configuration on the targets    SOURCE_CFG=\$CFG       configuration on the source
  SHOTS=16           images per class of the source  DATA=DIR    image root (empty: the shipped feature banks)
  OUTPUT=DIR         folder of the results           PYTHON=..., VENV=DIR   the Python to use
The table: python scripts/report.py --table 2 output/cross_dataset
EOT
  list_choices
}

split_arguments "$@"
case ${ARGS[0]:-} in -h | --help) usage; exit 0 ;; esac
if [ ${#ARGS[@]} -lt 2 ]; then
  usage >&2
  exit 2
fi
source=${ARGS[0]} seed=${ARGS[1]} cfg=${CFG:-miniclip} shots=${SHOTS:-16}
source_cfg=${SOURCE_CFG:-$cfg}
targets=("${ARGS[@]:2}")
if [ ${#targets[@]} -eq 0 ]; then
  for dataset in $PAPERS; do
    [ "$dataset" = "$source" ] && continue
    [ -z "${DATA:-}" ] && [ ! -e "datasets/banks/${dataset}_miniclip.safetensors" ] && continue
    targets+=("$dataset")
  done
  [ ${#targets[@]} -gt 0 ] || die "no target: no bank but the source's is shipped; give DATA=DIR, the folder of images"
fi
zero_shot=$(shortened ZeroshotCLIP "$cfg")
check_choices "$source" "$seed" CoOp_SHIP "$source_cfg"
for target in "${targets[@]}"; do
  check_choices "$target" "$seed" CoOp_SHIP "$cfg"
  check_choices "$target" "$seed" CoOp "$cfg"
  check_choices "$target" "$seed" ZeroshotCLIP "$zero_shot"
  [ "$target" != "$source" ] || die "$source is the source: its classes have images"
done
find_python
suffix=$(options_suffix ${OPTS[@]+"${OPTS[@]}"})
origin=$(run_folder fewshot "$source" "$seed" CoOp_SHIP "$source_cfg$suffix" "$shots")
train_in "$origin" fewshot "$source" "$seed" CoOp_SHIP "$source_cfg" "$shots" all ${OPTS[@]+"${OPTS[@]}"}
for target in "${targets[@]}"; do
  train_once cross_dataset "$target" "$seed" ZeroshotCLIP "$zero_shot" "$shots" all ${OPTS[@]+"${OPTS[@]}"}
  for trainer in CoOp CoOp_SHIP; do
    folder=$(run_folder cross_dataset "$target" "$seed" $trainer "$cfg-from_$source$suffix" "$shots")
    start=(MODEL.INIT_WEIGHTS "$origin")
    [ $trainer = CoOp ] || start+=(TRAINER.SHIP.INIT_FROM "$origin")
    train_in "$folder" cross_dataset "$target" "$seed" $trainer "$cfg" "$shots" all \
      ${OPTS[@]+"${OPTS[@]}"} "${start[@]}"
  done
done
"$PY" scripts/report.py --table 2 "$OUTPUT/cross_dataset"
