#!/usr/bin/env bash
# The paper's Table 1 on datasets of choice: every method, base to new, several seeds; then the table. Done runs are skipped.
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

METHODS="${METHODS:-ZeroshotCLIP CoOp CoCoOp ProDA KgCoOp CLIP_Adapter CoOp_VPT/miniclip_shared Tip_Adapter_F CoOp_SHIP CLIP_Adapter_SHIP Tip_Adapter_F_SHIP}"

case ${1:-} in
  -h | --help)
    cat <<EOF2
usage: bash scripts/table1.sh [DATASET ...]
  the datasets are caltech101 and eurosat unless given
  SEEDS="1 2 3"   METHODS="CoOp CoOp_VPT/CFG ..."   CFG=miniclip   JOBS=2 runs side by side
  DATA, OUTPUT, PYTHON, VENV as for scripts/base2new.sh
EOF2
    exit 0 ;;
esac
find_python
[ $# -gt 0 ] || set -- caltech101 eurosat
export PYTHON="$PY" DATA="${DATA:-}" OUTPUT OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
for dataset in "$@"; do
  for seed in ${SEEDS:-1 2 3}; do
    for method in $METHODS; do
      case $method in
        */*) echo "$dataset $seed ${method%/*} ${method#*/}" ;;
        *) echo "$dataset $seed $method ${CFG:-miniclip}" ;;
      esac
    done
  done
done | xargs -P "${JOBS:-2}" -L 1 bash -c 'log=$(mktemp); if bash scripts/base2new.sh "$@" >"$log" 2>&1; then echo "done: $*"; else echo "FAILED: $*"; tail -n 20 "$log"; fi; rm -f "$log"' run
"$PY" scripts/report.py "$OUTPUT/base2new" --layout paper
