#!/usr/bin/env bash
# model.sh ONNXC NAME -- `onnxc verify` on the model of this name in ../shared/models.
set -euo pipefail
source "$(dirname "$0")/common.sh"
[ -d "$shared/models/$2" ] || skip "model $2: there is no ../shared/models/$2"
"$1" verify "$shared/models/$2"
