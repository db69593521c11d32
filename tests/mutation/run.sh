#!/usr/bin/env bash
# run.sh TEST_MUTATION ONNXC WORK SECONDS -- mutants of the golden tests' texts, of the real models, of three that `onnxc
# gen` makes, and of every 12th of ONNX's node tests, as far as they are there; WORK is where the node tests are unpacked.
set -euo pipefail
test=$1 onnxc=$2 work=$3 seconds=$4
source "$(dirname "$0")/../conformance/common.sh"
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$onnxc" gen mlp -o "$made/mlp.onnx" --batch=N --layers=20,30,10 --bias --relu
"$onnxc" gen gemm -o "$made/gemm.onnx" --m=N --n=30 --k=7 --variable-b
"$onnxc" gen mlp -o "$made/bytes.onnx" --batch=N --layers=20,30,10 --dtype=int8 --bias --activation=gelu
models=("$made/mlp.onnx" "$made/gemm.onnx" "$made/bytes.onnx")
[ -d "$shared/models" ] && models+=("$shared/models")
status=0
here=$(dirname "$0")
"$test" --count 200 --seconds "$((seconds / 5))" "$here/../pass" "$here/../tile" || status=1
"$test" --count 120 --seconds "$((seconds * 2 / 5))" "${models[@]}" || status=1
find_onnx_tests "$work"
[ -z "$data" ] || "$test" --count 20 --seconds "$((seconds * 2 / 5))" --stride 12 "$data/node" || status=1
exit "$status"
