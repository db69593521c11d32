#!/usr/bin/env bash
# unpack.sh WORK -- unpacks ../shared's ONNX tests to WORK/onnx-tests, for tests that only read them.
set -euo pipefail
source "$(dirname "$0")/common.sh"
find_onnx_tests "$1"
[ -n "$data" ] || skip "there are no ONNX tests"
echo "ONNX tests: $data"
