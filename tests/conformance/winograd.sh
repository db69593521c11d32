#!/usr/bin/env bash
# winograd.sh ONNXC WORK JOBS -- --winograd on whole networks:
#   - ONNX's light networks (VGG-19 and ResNet-50 are among them) pass with every convolution of 3 x 3 in tiles of 4 x 4;
#   - which convolutions those are, and how exact each is, is told: of squeezenet all eight, to 1e-5.
set -euo pipefail
onnxc=$1 work=$2 jobs=$3
source "$(dirname "$0")/common.sh"
find_onnx_tests "$work"
[ -n "$data" ] && [ -d "$data/light" ] || skip "winograd: there is no ../shared/onnx, or it does not have light networks"
"$onnxc" verify --winograd=4 --jobs="$jobs" "$data/light" || fail "light networks in tiles"
model=$shared/models/squeezenet_seeded/model.onnx
if [ -f "$model" ]; then
  told=$("$onnxc" inspect --winograd=4 "$model" | awk '
    /^winograd F\(4x4, 3x3\), error [0-9.e-]*: node/ { layers++; if ($5 + 0 <= 0 || $5 + 0 > 1e-5) bad = bad " " $5 }
    /^winograd [0-9]* convolutions/ { said = $2 }
    END { print layers + 0, said + 0, bad }')
  [ "$told" = "8 8 " ] || fail "squeezenet: layers, layers in the summary, errors out of bounds: $told"
else
  echo "skipped: what is told: there is no ../shared/models/squeezenet_seeded"
fi
[ -z "${failures:-}" ]
