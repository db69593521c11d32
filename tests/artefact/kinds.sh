#!/usr/bin/env bash
# kinds.sh -- one model as everything that `onnxc compile` writes: each is called, and must give what the model's data
# sets say.
source "$(dirname "$0")/common.sh"
model=$shared/models/mnist
[ -d "$model" ] || skip 'all kinds of artefacts: there is no ../shared/models/mnist'
cd "$WORK"
failures=0
check() { "$@" || fail "$*"; }
compile() { check "$ONNXC" compile -q "$model/model.onnx" "$@"; }

echo '== shared, without OpenMP'
compile -o mnist.so
mkdir inputs jit exe again
check "$CALL_LIBRARY" ./mnist.so mnist --write-npy inputs "$model"
! ldd mnist.so | grep -E 'omp|onnxc|LLVM' || fail 'mnist.so needs more than libc'

echo '== shared, weights in a file'
compile -o file.so --weights=file
check "$CALL_LIBRARY" ./file.so file --weights file.so.weights "$model"
[ "$(stat -c %s file.so)" -lt "$(stat -c %s mnist.so)" ] || fail 'the weights are in file.so as well'
refuse() { # refuse 'part of the message' ARGUMENT...
  local part=$1
  shift
  ! "$CALL_LIBRARY" "$@" "$model" 2>message.txt || fail "$*: not refused"
  grep -qF "$part" message.txt || fail "$*: $(cat message.txt)"
}
refuse 'weights file' ./file.so file
refuse 'absent.weights' ./file.so file --weights absent.weights
head -c 1000 file.so.weights >half.weights
refuse 'half.weights' ./file.so file --weights half.weights
compile -o other.so --weights=file --mcpu=x86-64-v3
if ! cmp -s file.so.weights other.so.weights; then
  refuse 'other.so.weights' ./file.so file --weights other.so.weights
fi

echo '== other CPUs'
if has_cpu avx2; then
  compile -o v3.so --mcpu=x86-64-v3
  check "$CALL_LIBRARY" ./v3.so v3 "$model"
else
  echo 'skipped: x86-64-v3, which this CPU is not'
fi
if has_cpu avx512f; then
  compile -o v4.so --mcpu=x86-64-v4
  check "$CALL_LIBRARY" ./v4.so v4 "$model"
else
  echo 'skipped: x86-64-v4, which this CPU is not'
fi
if ! has_cpu amx_tile; then
  compile -o amx.so --mcpu=sapphirerapids
  refuse 'this CPU cannot run the code; it lacks ' ./amx.so amx
else
  echo 'skipped: code for a CPU that this one is not; this one has everything'
fi

echo '== static library and object, linked'
for suffix in a o; do
  compile -o "mnist.$suffix" --prefix=digits
  # CHECK_LINK is a list of words
  # shellcheck disable=SC2086
  check $CHECK_LINK -Wall -Wextra -Wpedantic -Werror -DMODEL=digits -include mnist.h "$(dirname "$0")/linked.c" \
    "mnist.$suffix" $CHECK_LIBRARIES -o "linked_$suffix"
  check "./linked_$suffix" "$model"
done
compile -o threads.o --threads=4
# shellcheck disable=SC2086
check $CHECK_LINK -DMODEL=threads -include threads.h "$(dirname "$0")/linked.c" threads.o $CHECK_LIBRARIES -o threads
check with_openmp ./threads "$model"

echo '== executable'
compile -o mnist
! ldd mnist | grep -E 'omp|onnxc|LLVM' || fail 'the executable needs more than libc'
input=$("$ONNXC" inspect "$model/model.onnx" | awk '$1 == "input" { sub(/:$/, "", $2); print $2; exit }')
check "$ONNXC" run "$model/model.onnx" --input "$input=$model/test_data_set_0/input_0.pb" --output-dir jit
check ./mnist --input "$input=inputs/input_0.npy" --output-dir exe
check "$ONNXC" run ./mnist.so --input "$input=inputs/input_0.npy" --output-dir again
# The bytes and the shape of a .npy file, whose header may be padded in several ways.
npy() {
  tail -c +$((11 + $(od -An -tu2 -j8 -N2 "$1"))) "$1" | od -An -tx4 -v
  head -c 128 "$1" | tr -d ' ' | grep -aoE "'shape':\([0-9,]*\)" | tr -d ',)'
}
compared=0
for file in jit/*.npy; do
  name=$(basename "$file")
  [ "$(npy "$file")" = "$(npy "exe/$name")" ] || fail "the executable's $name is not that of onnxc run"
  [ "$(npy "$file")" = "$(npy "again/$name")" ] || fail "the library's $name is not that of onnxc run"
  compared=$((compared + 1))
done
[ "$compared" -gt 0 ] || fail 'nothing was written'
status=0
./mnist --input "$input=absent.npy" 2>message.txt || status=$?
[ "$status" -eq 3 ] && grep -q absent.npy message.txt || fail "absent input: status $status, $(cat message.txt)"
compile -o small --weights=file
check ./small --input "$input=inputs/input_0.npy" --output-dir again
rm small.weights
status=0
./small 2>message.txt || status=$?
[ "$status" -eq 3 ] && grep -q small.weights message.txt || fail "no weights: status $status, $(cat message.txt)"

echo '== text'
for suffix in ll s ir; do
  compile -o "text.$suffix"
  [ -s "text.$suffix" ] || fail "text.$suffix is empty"
done

echo "artefacts of mnist: $failures failed"
[ "$failures" -eq 0 ]
