#!/usr/bin/env bash
# run.sh INSTRUMENTED WORK CLANG LLVM_LIBRARIES -- looks for races between tasks of compiled programs, with ThreadSanitizer.
#
# Each program becomes an object that reports its accesses (instrumented.c), is linked with race.c and runs on 2, 3 and 8
# threads of both drivers: an embedder's parallel_for and OpenMP, whose barriers libarcher explains to ThreadSanitizer.
# Programs with a race on purpose must be found out by the same means.
set -euo pipefail
instrumented=$1 work=$2 clang=$3 libraries=$4
here=$(cd "$(dirname "$0")" && pwd)
skip() {
  echo "skipped: races between tasks: $1"
  exit 77
}
[ -f "$libraries/libarcher.so" ] || skip 'there is no libarcher.so (libomp-19-dev)'
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
echo 'int main(void) { return 0; }' >"$work/probe.c"
"$clang" -fsanitize=thread "$work/probe.c" -o "$work/probe" || skip 'clang cannot link ThreadSanitizer (libclang-rt-19-dev)'
export OMP_TOOL_LIBRARIES=$libraries/libarcher.so OMP_WAIT_POLICY=passive
export TSAN_OPTIONS='ignore_noninstrumented_modules=1 exitcode=66'
failures=0 programs=0
fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

"$clang" -std=c11 -O1 -fsanitize=thread -I"$here/../../include" -c "$here/race.c" -o "$work/race.o"
build() { # build PATH: leaves $work/NAME
  name=$(basename "${1%.*}")
  programs=$((programs + 1))
  "$instrumented" "$1" "$work/$name.o" &&
    "$clang" -fsanitize=thread "$work/race.o" "$work/$name.o" -L"$libraries" -Wl,-rpath,"$libraries" -lomp -o "$work/$name"
}

clean() { # clean FILE SIZE STAGES: no race, and at least so many stages run on several threads
  local stages
  build "$here/$1" || { fail "$1 is not built" && return; }
  for driver in pool openmp; do
    if ! "$work/$name" "$driver" "$2" >"$work/$driver" 2>&1; then
      fail "$1 on $driver"
      head -n 40 "$work/$driver"
    fi
  done
  stages=$(awk '/stages in parallel/ { print $1 }' "$work/pool")
  [ "${stages:-0}" -ge "$3" ] || fail "$1: $stages stages in parallel, expected $3: this looks for nothing"
}

racy() { # racy FILE
  local status
  build "$here/$1" || { fail "$1 is not built" && return; }
  for driver in pool openmp; do
    status=0
    "$work/$name" "$driver" >"$work/$driver" 2>&1 || status=$?
    [ "$status" -eq 66 ] && grep -q 'ThreadSanitizer: data race' "$work/$driver" ||
      fail "$1 on $driver: its race is not found (status $status)"
  done
}

racy overlap_vectors.tile
racy overlap_masked.tile
racy read_of_neighbour.tile
clean layers.ir 600 2
clean convolutions.ir 1 2
clean parts.ir 90 2
clean batched.ir 90 2
clean attention.ir 1 2
clean chain.ir 1 1
clean long_sum.ir 1 1
clean narrow.ir 600 2
clean branches.ir 1200 2
clean branches.ir 600 1
clean ../tile/matmul.tile 600 2
clean ../tile/conv_halo.tile 48 2
clean ../tile/depthwise_pointwise.tile 1 1
clean ../tile/softmax.tile 9 1
clean ../tile/layer_norm.tile 9 1
clean ../tile/lstm_gates.tile 20 1
clean ../tile/attention.tile 90 1

echo "races: $programs programs, $failures failed"
[ "$failures" -eq 0 ]
