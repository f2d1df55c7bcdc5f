# Shared by the scripts beside it: `source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"`. Works with bash 3.2 (macOS).
#
# Environment variables that every script understands:
#   VENV    folder of the virtual environment; default .venv in the repository
#   PYTHON  set-up: the Python that makes the environment; training scripts: the Python that runs train.py
# and the training scripts:
#   DATA    image root in CoOp's layout; empty: a feature bank
#   BANK    feature bank to use; empty: the one that ships with the repository
#   OUTPUT  folder of the results; default output
set -euo pipefail

die() {
  echo "error: $*" >&2
  exit 2
}

absolute() { # PATH, seen from where the user stands
  case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac
}

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV_IS_DEFAULT=$([ -n "${VENV:-}" ] && echo no || echo yes)
VENV="$(absolute "${VENV:-$ROOT/.venv}")"
VENV_READY="$VENV/.ship-ready" # a copy of the requirements.txt that is installed there, written last
[ -z "${DATA:-}" ] || DATA="$(absolute "$DATA")"
[ -z "${BANK:-}" ] || BANK="$(absolute "$BANK")"
if [ -n "${OUTPUT:-}" ]; then OUTPUT="$(absolute "$OUTPUT")"; else OUTPUT=output; fi
cd "$ROOT"

is_set_up() {
  [ -x "$VENV/bin/python" ] && cmp -s "$ROOT/requirements.txt" "$VENV_READY"
}

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

# "DATASET SEED -- KEY VALUE ..." -> ARGS=(DATASET SEED) OPTS=(KEY VALUE ...)
split_arguments() {
  ARGS=()
  OPTS=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    ARGS+=("$1")
    shift
  done
  [ $# -eq 0 ] || shift
  OPTS=("$@")
  [ $((${#OPTS[@]} % 2)) -eq 0 ] || die "after -- come pairs KEY VALUE; found ${#OPTS[@]} words: ${OPTS[*]}"
}

# Options change the run, so they are part of its folder's name: a run with other options is not the same run.
options_suffix() {
  local name=""
  while [ $# -gt 0 ]; do
    name="$name-$1=$2"
    shift 2
  done
  printf '%s' "${name//[^A-Za-z0-9._=-]/_}"
}

list_choices() {
  local file trainer
  echo "datasets:"
  for file in configs/datasets/*.yaml; do
    [ -e "$file" ] && echo "  $(basename "$file" .yaml)"
  done
  echo "trainers (and their configurations):"
  for trainer in configs/trainers/*/; do
    [ -d "$trainer" ] || continue
    printf '  %-20s' "$(basename "$trainer")"
    for file in "$trainer"*.yaml; do
      [ -e "$file" ] && printf ' %s' "$(basename "$file" .yaml)"
    done
    echo
  done
}

check_choices() { # DATASET SEED TRAINER CFG
  [ -e "configs/datasets/$1.yaml" ] || die "no dataset '$1' (configs/datasets/$1.yaml). There are:
$(list_choices)"
  case $2 in '' | *[!0-9]*) die "SEED is a whole number, found '$2'" ;; esac
  [ -e "configs/trainers/$3/$4.yaml" ] || die "no configuration '$4' of trainer '$3' (configs/trainers/$3/$4.yaml). There are:
$(list_choices)"
}

# A trainer may have fewer configurations than another: vit_b16_ctxv1 -> vit_b16, where it has no such file.
shortened() { # TRAINER CFG
  local cfg=$2
  while [ ! -e "configs/trainers/$1/$cfg.yaml" ] && [ "$cfg" != "${cfg%_*}" ]; do cfg=${cfg%_*}; done
  echo "$cfg"
}

# One run, unless its results.json says that it is done. A run that was cut off goes on from its last checkpoint.
train_once() { # TASK DATASET SEED TRAINER CFG SHOTS SUBSAMPLE [KEY VALUE ...]
  train_in "$(run_folder "$1" "$2" "$3" "$4" "$5$(options_suffix "${@:8}")" "$6")" "$@"
}

run_folder() { # TASK DATASET SEED TRAINER NAME-OF-CFG SHOTS; -1 shots are all images
  echo "$OUTPUT/$1/$2/shots_${6/#-1/all}/$4/$5/seed$3"
}

# The same with the output folder in front: for options that should not name it, or name it more shortly.
train_in() { # DIR TASK DATASET SEED TRAINER CFG SHOTS SUBSAMPLE [KEY VALUE ...]
  local dir=$1 task=$2 dataset=$3 seed=$4 trainer=$5 cfg=$6 shots=$7 subsample=$8
  shift 8
  if [ -e "$dir/results.json" ]; then
    echo "done already: $dir/results.json (delete it to run again)"
    return
  fi
  local root=()
  [ -z "${DATA:-}" ] || root=(--root "$DATA")
  [ -z "${BANK:-}" ] || set -- FEATURES.BANK "$BANK" "$@"
  "$PY" train.py ${root[@]+"${root[@]}"} --seed "$seed" --trainer "$trainer" \
    --dataset-config-file "configs/datasets/$dataset.yaml" \
    --config-file "configs/trainers/$trainer/$cfg.yaml" \
    --output-dir "$dir" \
    TASK "$task" DATASET.NUM_SHOTS "$shots" DATASET.SUBSAMPLE_CLASSES "$subsample" "$@"
}
