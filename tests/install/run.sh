#!/usr/bin/env bash
# Installs the build into an empty prefix, moves it, and builds and runs the examples against it: by pkg-config, and as a
# CMake project that also compiles a model to a library.
#
#     run.sh BUILD WORK CC CFLAGS
set -euo pipefail
build=$1 work=$2 cc=$3 cflags=$4
source=$(cd "$(dirname "$0")/../.." && pwd)

rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/installed" # it is relocatable
prefix=$work/installed
library=$(dirname "$(find "$prefix" -name libonnxc.so | head -n 1)")
export LD_LIBRARY_PATH=$library PATH=$prefix/bin:$PATH PKG_CONFIG_PATH=$library/pkgconfig

# The examples end without giving back their memory.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0

onnxc gen mlp -o "$work/net.onnx" --batch=2 --layers=8,16,4 --bias --relu
[ "$(pkg-config --modversion onnxc)" = 0.1.0 ]
# shellcheck disable=SC2046,SC2086
$cc -std=c11 $cflags "$source/examples/embed.c" $(pkg-config --cflags --libs onnxc) -o "$work/embed"
"$work/embed" "$work/net.onnx" | grep -q 'first output'
if "$work/embed" "$work/none.onnx" 2>"$work/message"; then exit 1; fi
grep -q 'none.onnx: cannot open' "$work/message"

cmake -G Ninja -S "$source/examples" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" \
  -DCMAKE_C_FLAGS="$cflags" -DMODEL="$work/net.onnx" >/dev/null
cmake --build "$work/build" >/dev/null
"$work/build/embed" "$work/net.onnx" | grep -q 'first output'
"$work/build/use_library" | grep -q 'first element'
