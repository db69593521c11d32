#!/usr/bin/env bash
# bad_input.sh ONNXC BAD_MODELS WORK -- what the command says to bad input: the exit status, and that the message names
# the file, and the node or tensor. It must never crash, say nothing, or leave a file behind.
set -euo pipefail
onnxc=$1 bad_models=$2 work=$3
source "$(dirname "$0")/common.sh"
rm -rf "$work"
mkdir -p "$work"
"$bad_models" "$work"
cd "$work"
checks=0

# expect STATUS 'part of the message'... -- ARGUMENT...: runs onnxc.
expect() {
  local want=$1 parts=() status=0 part
  shift
  while [ "$1" != -- ]; do
    parts+=("$1")
    shift
  done
  shift
  checks=$((checks + 1))
  timeout 60 "$onnxc" "$@" >out.txt 2>err.txt || status=$?
  [ "$status" -eq "$want" ] || fail "onnxc $*: status $status, expected $want: $(head -c 300 err.txt)"
  for part in "${parts[@]}"; do
    grep -qF -- "$part" err.txt || fail "onnxc $*: the message lacks '$part': $(head -c 300 err.txt)"
  done
}

good_model() { expect 0 -- compile good.onnx -o good.so; }
good_model

# Files that are no models.
for verb in "compile -o out.so" run bench inspect opt; do
  expect 3 'empty.onnx: not an ONNX model: the file is empty' -- $verb empty.onnx
  for file in random1.onnx random2.onnx random3.onnx; do
    expect 3 "$file: not an ONNX model: byte " -- $verb "$file"
  done
  expect 3 'missing.onnx: cannot open: No such file' -- $verb missing.onnx
  expect 3 "$work: " 'not a regular file' -- $verb "$work"
done
mkdir test_data_set_0
for file in random1 empty; do # verify counts it as a failed case
  expect 1 -- verify "$file.onnx"
  grep -q 'not an ONNX model' out.txt || fail "onnxc verify $file.onnx: $(cat out.txt)"
done
expect 3 'missing: no such file or folder' -- verify missing
mkdir nothing
expect 3 'nothing: there is no model' -- verify nothing

# Every truncation: refused with a message, or (cut between two fields) a model whose outputs nothing writes.
size=$(stat -c %s good.onnx)
for ((length = 1; length < size; length++)); do
  head -c "$length" good.onnx >cut.onnx
  expect 3 cut.onnx: -- compile cut.onnx -o out.so
done

# Models that are wrong. The message names the node.
expect 4 "unknown.onnx: node 'first' (Frobnicate-17): not supported" \
  "unknown.onnx: node 'second' (Transmogrify-17): not supported" -- compile unknown.onnx -o out.so
expect 3 "cyclic.onnx: node 'forth' (Add-17) depends on its own result" -- compile cyclic.onnx -o out.so
expect 3 "dangling.onnx: node 'sum' (Add-17) reads 'nowhere'" -- compile dangling.onnx -o out.so
expect 3 "product.onnx: node 'product' (MatMul-17): " 'f32[2, 3], f32[4, 5]' -- compile product.onnx -o out.so
expect 3 "conv.onnx: node 'conv1' (Conv-17): " 'f32[1, 3, 8, 8], f32[8, 3, 3]' -- compile conv.onnx -o out.so
expect 3 "external.onnx: initializer 'w': cannot open external data 'absent.bin': No such file" -- \
  compile external.onnx -o out.so
expect 3 "outside.onnx: initializer 'w': external data '../../outside.bin' does not lie in" -- \
  compile outside.onnx -o out.so
expect 3 "short.onnx: initializer 'w' has 7 bytes, but its type and shape need 12" -- compile short.onnx -o out.so
expect 4 'large.onnx: ' 'more than 2^40 elements' -- compile large.onnx -o out.so

# Shapes that contradict the model, and files of inputs that do.
expect 2 "good.onnx: input 'x': dim 1 is 3 in the model, not 4" -- compile good.onnx --shape x=2x4 -o out.so
expect 2 "good.onnx: input 'x' has rank 2" -- compile good.onnx --shape x=2x3x1 -o out.so
expect 2 "good.onnx: the model has no input 'z'" -- compile good.onnx --shape z=2x3 -o out.so
expect 2 "good.onnx: the model has no dim 'Z'" 'N' -- compile good.onnx --dim Z=2 -o out.so
npy() { # npy FILE SHAPE BYTES: float32
  local header
  header=$(printf "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }" "$2")
  printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$header" >"$1"
  head -c "$3" /dev/zero >>"$1"
}
npy right.npy '2, 3' 24
npy wrong.npy '2, 4' 32
npy short.npy '2, 3' 20
printf '\x93NUMPY\x01\x00' >cut.npy
for model in good.onnx ./good.so; do
  expect 0 -- run "$model" --input x=right.npy
  expect 3 "wrong.npy: it holds f32[2, 4], but input 'x' is f32[" -- run "$model" --input x=wrong.npy
  expect 3 'short.npy: ' -- run "$model" --input x=short.npy
  expect 3 'cut.npy: it is not a .npy file' -- run "$model" --input x=cut.npy
  expect 3 'absent.npy: No such file' -- run "$model" --input x=absent.npy
  expect 3 'good.pb: ' -- run "$model" --input x=good.pb
  expect 2 "'z=right.npy'" -- run "$model" --input z=right.npy
done

# Libraries that are none of ours.
cp "$(command -v bash)" foreign.so
head -c 3000 good.so >half.so
for file in foreign.so half.so random1.so; do
  [ -f "$file" ] || cp random1.onnx "$file"
  expect 3 "$file: not a compiled model" -- run "./$file"
done

# Arguments.
expect 3 'good.onnx: cannot write' 'absent/out.so' -- compile good.onnx -o absent/out.so
expect 2 'unknown CPU' -- compile good.onnx -o out.so --mcpu=z80
expect 2 '--emit' -- compile good.onnx -o out.so --emit=cobol
expect 2 '-o OUT is missing' -- compile good.onnx
expect 2 'usage' --
expect 2 "there is no verb 'frobnicate'" -- frobnicate

[ ! -e out.so ] || fail 'a compilation that failed left out.so behind'
leftover=$(find . -maxdepth 1 -newer good.so -name '*.tmp*')
[ -z "$leftover" ] || fail "files left behind: $leftover"
echo "bad input: $checks calls, ${failures:-0} wrong answers"
[ -z "${failures:-}" ]
