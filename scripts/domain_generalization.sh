#!/usr/bin/env bash
# Domain generalization: trained on ImageNet, evaluated on ImageNetV2, -Sketch, -A and -R. Arguments: bash scripts/domain_generalization.sh --help
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
find_python
exec "$PY" scripts/launch.py domain_generalization "$@"
