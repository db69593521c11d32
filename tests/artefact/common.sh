# common.sh -- sourced by the scripts of tests/artefact. Arguments come through the environment, from CMake:
#   ONNXC         the command
#   CALL_LIBRARY  loaded.c, linked with check.c
#   CHECK_LINK    what links linked.c: compiler, flags, libraries
#   WORK          a folder of this test's own

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../conformance/common.sh"
rm -rf "$WORK"
mkdir -p "$WORK"
trap 'rm -rf "$WORK"' EXIT # some artefacts are half a gigabyte
export OMP_WAIT_POLICY=passive # more threads than cores must not spin
# Runs a program whose OpenMP threads live until it ends: the leak detector finds their memory, or crashes on them.
with_openmp() { ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 "$@"; }
has_cpu() { grep -qw "$1" /proc/cpuinfo; }
