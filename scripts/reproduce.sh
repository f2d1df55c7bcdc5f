#!/usr/bin/env bash
# Every table of SHIP's paper on a GPU machine, each cell beside the paper's.
#
#   bash scripts/reproduce.sh DATA                      weights, data and zero-shot figures are checked; then all runs
#   bash scripts/reproduce.sh DATA 1 --per-gpu 2        one seed; the flags are those of scripts/launch.py
#   bash scripts/reproduce.sh DATA 1 --dry-run          shows everything, runs nothing
#
# DATA is the folder that holds the data sets; `python scripts/data.py list` names them. It stops at the first check that
# fails, and the same command goes on from where it was interrupted. Options of all runs come last, behind --.
#   TABLES="1 2 3 4 5 6"   CFG=vit_b16   SOURCE=imagenet (Table 2's)   SKIP="weights check verify" leaves these out
#   DATASETS="imagenet caltech101 ..." of Tables 1, 2, 4, 5 and 6      GZSL="cub awa2 flo" of Table 3
#   OUTPUT=DIR             folder of the results; the tables are in DIR/reproduced.txt, too
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
case ${1:---help} in
  -*) exec sed -n '2,/^source/{/^source/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" ;;
esac
find_python

export DATA="$1" OUTPUT="${OUTPUT:-$ROOT/output}"
case $DATA in /*) ;; *) DATA="$SHIP_CALLED_FROM/$DATA" ;; esac
[ -d "$DATA" ] || die "$DATA is no folder; DATA is the folder that holds the data sets"
shift
seeds=""
while [[ ${1:-} =~ ^[0-9]+$ ]]; do
  seeds="$seeds $1"
  shift
done
tables=${TABLES:-1 2 3 4 5 6} cfg=${CFG:-vit_b16} source=${SOURCE:-imagenet} skip=${SKIP:-}
datasets=${DATASETS:-imagenet caltech101 oxford_pets stanford_cars oxford_flowers food101 fgvc_aircraft sun397 dtd eurosat ucf101}
case $tables in *3*) gzsl=${GZSL:-cub awa2 flo} ;; *) gzsl="" ;; esac
case " $* " in *" --dry-run "* | *" --status "*) look=yes ;; *) look="" ;; esac

step() { # shows a command, and runs it unless we only look
  echo "\$ $*"
  [ -n "$look" ] || "$@"
}

fetch='from scripts.lib.faults import say_errors
from trainers.core.model.openai_clip import fetch
say_errors(lambda: print("weights:", fetch("ViT-B/16")[0]))'
case "$skip $cfg" in *weights*) ;; *vit_b16*) step env PYTHONPATH=third_party "$PY" -c "$fetch" ;; esac
case $skip in *check*) ;; *)
  step "$PY" scripts/data.py check $datasets $gzsl --root "$DATA" ||
    die "data are missing or differ (above). Get them with
  python scripts/data.py prepare $datasets${gzsl:+ $gzsl} --root $DATA
or leave data sets out with DATASETS=\"...\", or go on with SKIP=check" ;;
esac
case $skip in *verify*) ;; *)
  step "$PY" scripts/verify.py --root "$DATA" $datasets ||
    die "zero-shot figures differ from the published ones (above): training would not give the paper's either.
Mend what it names, or go on with SKIP=verify" ;;
esac

code=0
for table in $tables; do
  list=table$table on=$datasets family=$cfg
  case $table in
    2) on=$(printf '%s\n' $datasets | grep -vx "$source" || true) ;;
    3) on=$gzsl family=${cfg}_gzsl ;;
    [456]) list=ablation_$table ;;
  esac
  [ -n "$on" ] || continue
  CFG=$family SOURCE=$source METHODS="" "$PY" scripts/launch.py $list --datasets $on --seeds ${seeds:-1 2 3} "$@" || code=$?
  [ $code -lt 128 ] || exit $code
done
[ -z "$look" ] || exit $code
for table in $tables; do
  case $table in 2) task=cross_dataset ;; 3) task=gzsl ;; *) task=base2new ;; esac
  [ ! -d "$OUTPUT/$task" ] || "$PY" scripts/report.py --table "$table" "$OUTPUT/$task" || code=$?
done | tee "$OUTPUT/reproduced.txt"
exit $code
