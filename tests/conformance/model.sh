#!/usr/bin/env bash
# model.sh ONNXC NAME [ARGUMENTS...] -- `onnxc verify` with these arguments on the model of this name in ../shared/models.
set -euo pipefail
source "$(dirname "$0")/common.sh"
[ -d "$shared/models/$2" ] || skip "model $2: there is no ../shared/models/$2"
"$1" verify "${@:3}" "$shared/models/$2"
