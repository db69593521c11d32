#!/usr/bin/env bash
# test_tune.sh ONNXC -- `onnxc tune`, and --tuning with values that are legal but odd: results stay what they are.
#
# The keys of a model's products come from what tune writes for it; `odd` then puts other values behind them.
set -u
onnxc=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
checks=0 failures=0

expect() { # STATUS TEXT COMMAND...
  local want=$1 text=$2 out status
  shift 2
  out=$("$@" 2>&1 </dev/null)
  status=$?
  checks=$((checks + 1))
  if [ $status -ne "$want" ] || [[ $out != *"$text"* ]]; then
    failures=$((failures + 1))
    printf 'FAILED: %s\n  status %d, expected %d with "%s"\n  %s\n' "$*" $status "$want" "$text" "${out:0:600}"
  fi
}

# odd NAME VALUES...: verifies the model with these values for all its products
odd() {
  local name=$1
  shift
  grep -o 'cpu=[^:]*' "$name.tuning" | sed "s/\$/: $*/" >"$name.odd"
  expect 0 "1 passed" "$onnxc" verify --tuning="$name.odd" "$name"
  unroll=$(grep -o 'unroll=[0-9]*' "$name.odd" | head -1)
  expect 0 "unroll(${unroll#*=})" "$onnxc" compile --tuning="$name.odd" "$name/model.onnx" -o "$name.ir" --print-after=tile
}

prepare() { # NAME KIND ARGUMENTS...
  local name=$1
  mkdir "$name"
  expect 0 "" "$onnxc" gen "${@:2}" -o "$name/model.onnx" --test-data
  expect 0 "products faster" "$onnxc" tune "$name/model.onnx" -o "$name.tuning" --duration=0.1 \
    --input "$name/test_data_set_0/input_0.pb"
  expect 0 "1 passed" "$onnxc" verify --tuning="$name.tuning" "$name"
}

prepare plain gemm --m=33 --n=70 --k=52
prepare layers mlp --batch=19 --layers=40,70,33 --bias --relu
prepare narrow gemm --m=33 --n=70 --k=52 --dtype=bf16
prepare bytes gemm --m=33 --n=70 --k=52 --dtype=int8
prepare open gemm --m=rows --n=70 --k=52 --bias
expect 0 " m=~" cat open.tuning
for name in plain layers narrow bytes open; do
  panel=$(grep -o 'panel=[0-9]*' $name.tuning | head -1)
  odd $name tile=1 unroll=1 rows=1 columns=0 depth=8 ahead=0 lines=0
  odd $name tile=1 unroll=16 rows=0 columns=0 depth=0 ahead=1073741824 lines=64
  odd $name tile=3 unroll=3 rows=6 columns=0 depth=20 ahead=1 lines=1
  [ $name = layers ] || odd $name tile=2 unroll=5 rows=4 columns="${panel#*=}" depth=48 ahead=100 lines=3
done

# what a file says is what is compiled, and what is cached
odd plain tile=5 unroll=2 rows=15 columns=0 depth=24 ahead=64 lines=1
expect 0 "rows(i0 5)" "$onnxc" compile plain/model.onnx -o plain.ir --print-after=tile --tuning=plain.odd
expect 0 "parts of 24" cat plain.ir
expect 0 "predicted" "$onnxc" compile plain/model.onnx -o plain.ir --print-after=tile
expect 0 "(now in the cache)" "$onnxc" bench --no-peak --duration=0.05 --cache=programs plain/model.onnx
expect 0 "(now in the cache)" "$onnxc" bench --no-peak --duration=0.05 --cache=programs --tuning=plain.odd plain/model.onnx
expect 0 "(from the cache)" "$onnxc" bench --no-peak --duration=0.05 --cache=programs --tuning=plain.odd plain/model.onnx
expect 0 "c: f32[33, 70]" "$onnxc" run --tuning=plain.odd plain/model.onnx
expect 0 "products faster" "$onnxc" tune plain/model.onnx -o again.tuning --duration=0.5 --tuning=plain.odd --threads=2
expect 0 "" test ! -e again.tuning.partial

# what is wrong is said
expect 3 "cannot read 'none': No such file" "$onnxc" run --tuning=none plain/model.onnx
expect 3 "cannot read '.'" "$onnxc" run --tuning=. plain/model.onnx
expect 3 "too large" "$onnxc" compile --tuning=/dev/zero plain/model.onnx -o never.so
expect 0 "" test ! -e never.so
printf '# a comment\ncpu=znver5\n' >bad.tuning
expect 3 "bad.tuning:2: missing: a" "$onnxc" compile --tuning=bad.tuning plain/model.onnx -o never.so
expect 2 "-o FILE is missing" "$onnxc" tune plain/model.onnx
expect 2 "it wants one model" "$onnxc" tune -o x.tuning
expect 3 "cannot open" "$onnxc" tune none.onnx -o x.tuning
expect 3 "cannot write" "$onnxc" tune plain/model.onnx -o none/x.tuning --duration=0.1
expect 0 "" "$onnxc" compile plain/model.onnx -o plain.so -q
expect 4 "only a model" "$onnxc" tune plain.so -o x.tuning

echo "tune: $((checks - failures)) of $checks checks passed"
[ $failures -eq 0 ]
