# common.sh -- sourced by the scripts of tests/conformance and tests/artefact: where the test data is. Sets
#   shared  the folder of models and ONNX tests (may be absent): $ONNXC_SHARED, or ../shared beside the checkout
#   skip    a function: says what is skipped, and ends with the status that means "skipped" to ctest
# find_onnx_tests WORK sets data (the folder of sets) and data_source (its name; "" when there is none).

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
shared=${ONNXC_SHARED:-$here/../../../shared}

skip() {
  echo "skipped: $*"
  exit 77
}

fail() {
  echo "FAILED: $*"
  failures=$((${failures:-0} + 1))
}

# Unpacks the archive once into WORK; several tests may come at the same time.
find_onnx_tests() {
  local archive=$shared/onnx/onnx-tests.tar.xz debian=/usr/share/libonnx-testdata/data
  if [ -f "$archive" ]; then
    mkdir -p "$1"
    (
      flock 9
      if [ ! -f "$1/unpacked" ] || [ "$archive" -nt "$1/unpacked" ]; then
        rm -rf "$1/onnx-tests"
        tar -xJf "$archive" -C "$1"
        touch "$1/unpacked"
      fi
    ) 9>"$1/lock"
    data=$1/onnx-tests data_source=onnx-tests
  elif [ -d "$debian" ]; then
    data=$debian data_source=libonnx-testdata
  else
    data='' data_source=''
  fi
}

# The rows of a table: without comments and empty lines.
rows() { grep -vE '^[[:space:]]*(#|$)' "$1"; }
