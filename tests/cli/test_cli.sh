#!/usr/bin/env bash
# test_cli.sh ONNXC -- the command as a user types it: exit statuses, messages, and every verb once.
#
# Each `expect STATUS TEXT command...` runs the command and wants that exit status, and TEXT in what it prints
# (standard output and standard error together).
set -u
onnxc=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
checks=0 failures=0

expect() {
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

# ---- the main job: generate, verify, compile, run ----
mkdir mlp
expect 0 "" "$onnxc" gen mlp -o mlp/model.onnx --batch=16 --layers=64,48,33,64 --bias --relu --seed=7 --test-data
expect 0 "mlp  opset 20  pass" "$onnxc" verify mlp
expect 0 "1 passed, 0 failed, 0 unsupported, 0 without code" "$onnxc" verify mlp/model.onnx
expect 0 '"passed": 1' "$onnxc" verify --json mlp
expect 0 "y: f32[16, 64]" "$onnxc" run mlp/model.onnx --input x=random:3 --output-dir jit
expect 0 "mlp.so: shared" "$onnxc" compile mlp/model.onnx -o mlp.so
expect 0 "y: f32[16, 64]" "$onnxc" run mlp.so --input x=random:3 --output-dir shared
expect 0 "" cmp jit/y.npy shared/y.npy
expect 0 "y: f32[16, 64]" "$onnxc" run mlp/model.onnx --input jit/y.npy # an output is an input again
expect 0 "y: f32[16, 64]" "$onnxc" run mlp/model.onnx --input x=mlp/test_data_set_0/input_0.pb
expect 0 "y: f32[16, 64]" "$onnxc" run mlp/model.onnx --reference
expect 0 "# after tile" "$onnxc" compile mlp/model.onnx -o mlp.ir --print-after=tile
expect 0 "mlp.s: asm" "$onnxc" compile mlp/model.onnx -o mlp.s --mcpu=haswell
expect 0 "mlp.o: object" "$onnxc" compile mlp/model.onnx -o mlp.o -v
expect 0 "" test -s mlp.h
expect 0 "" "$onnxc" compile mlp/model.onnx -q -o one.o --prefix=mlp --compile-threads=1
expect 0 "" "$onnxc" compile mlp/model.onnx -q -o five.o --prefix=mlp --compile-threads=5
expect 0 "" cmp one.o five.o
expect 2 "--compile-threads wants a number" "$onnxc" run mlp/model.onnx --compile-threads=0
expect 0 "share_of_peak" "$onnxc" bench --json --duration=0.2 mlp/model.onnx
expect 0 "share_of_roof" "$onnxc" bench --json --profile --duration=0.1 mlp/model.onnx
expect 0 " + " "$onnxc" bench --profile --duration=0.1 --threads=2 --trace=trace.json --chart=chart.svg mlp/model.onnx
expect 0 '"ph": "X"' cat trace.json
expect 0 '"share_of_roof"' cat trace.json
expect 0 "</svg>" cat chart.svg
expect 3 "cannot write 'nowhere/trace.json'" "$onnxc" bench --duration=0.1 --trace=nowhere/trace.json mlp/model.onnx
expect 3 "cannot write 'nowhere/chart.svg'" "$onnxc" bench --duration=0.1 --chart=nowhere/chart.svg mlp/model.onnx
expect 4 "only a model, not a compiled library, can be profiled" "$onnxc" bench --profile --duration=0.1 mlp.so
expect 0 "load and compile" "$onnxc" bench --no-peak --duration=0.1 mlp.so
expect 0 "(now in the cache)" "$onnxc" bench --no-peak --duration=0.1 --cache=programs mlp/model.onnx
expect 0 "(from the cache)" "$onnxc" bench --no-peak --duration=0.1 --cache=programs mlp/model.onnx
expect 0 '"cached": true' "$onnxc" bench --no-peak --json --duration=0.1 --cache=programs mlp/model.onnx
expect 0 "y: f32[16, 64]" env XDG_CACHE_HOME="$work/caches" "$onnxc" run --cache mlp/model.onnx --input x=random:3 --output-dir cached
expect 0 "1 passed" env XDG_CACHE_HOME= HOME="$work/home" "$onnxc" verify --cache mlp
expect 0 "" test -d caches/onnxc -a -d home/.cache/onnxc
expect 0 "y: f32[16, 64]" env XDG_CACHE_HOME="$work/caches" "$onnxc" run --cache mlp/model.onnx --input x=random:3 --output-dir again
expect 0 "" cmp jit/y.npy cached/y.npy
expect 0 "" cmp jit/y.npy again/y.npy
expect 0 "(the cache cannot be written)" "$onnxc" bench --no-peak --duration=0.1 --cache=mlp/model.onnx mlp/model.onnx
expect 2 "--cache needs a directory" env -u HOME XDG_CACHE_HOME=relative "$onnxc" run --cache mlp/model.onnx
expect 0 '"winograd": []' "$onnxc" bench --no-peak --json --duration=0.1 --winograd mlp/model.onnx # it has no convolutions
expect 2 "--winograd wants 2, 4 or nothing, not '3'" "$onnxc" run --winograd=3 mlp/model.onnx

# ---- precision ----
expect 0 "1 passed" "$onnxc" verify --precision=bf16 mlp
expect 1 "1 failed" "$onnxc" verify --precision=bf16 --rtol=1e-3 --atol=1e-5 mlp # bf16 is not f32
expect 0 "dot products of 2" "$onnxc" compile mlp/model.onnx -o mlp.ir --precision=bf16 --print-after=tile
expect 0 "y: f32[16, 64]" "$onnxc" run mlp/model.onnx --precision=bf16 --cache=programs --input x=random:3 --output-dir narrow
expect 0 "mlp16.so: shared" "$onnxc" compile mlp/model.onnx -o mlp16.so --precision=bf16
expect 0 "y: f32[16, 64]" "$onnxc" run mlp16.so --input x=random:3 --output-dir narrow_shared
expect 0 "" cmp narrow/y.npy narrow_shared/y.npy
expect 1 "differ" cmp jit/y.npy narrow/y.npy
expect 0 "(from the cache)" "$onnxc" bench --no-peak --duration=0.1 --precision=bf16 --cache=programs mlp/model.onnx
expect 0 "cast.bf16" "$onnxc" opt mlp/model.onnx --passes=pipeline --precision=bf16
expect 2 "--precision wants f32 or bf16" "$onnxc" run mlp/model.onnx --precision=f16
if grep -q avx2 /proc/cpuinfo; then
  expect 0 "1 passed" "$onnxc" verify --precision=bf16 --mcpu=x86-64-v3 mlp
fi

# ---- threads: on cores of their own, unless someone says otherwise ----
expect 0 "" "$onnxc" gen gemm -o wide.onnx --m=600 --n=256 --k=256
expect 0 "" "$onnxc" compile wide.onnx -o wide --threads=2
export OMP_AFFINITY_FORMAT='on %A'
places() { # places WANT COMMAND...: on how many different sets of CPUs the threads of a run are
  local want=$1
  shift
  expect 0 "places: $want" sh -c 'echo "places: $(OMP_DISPLAY_AFFINITY=true "$@" 2>&1 | grep "^on " | sort -u | wc -l)"' sh "$@"
}
two=$(($(nproc) > 1 ? 2 : 1))
places $two "$onnxc" run wide.onnx --threads=2
places $two "$onnxc" bench wide.onnx --threads=2 --affinity=spread --duration=0.05
places 1 "$onnxc" run wide.onnx --threads=2 --affinity=none
places 1 env OMP_PROC_BIND=false "$onnxc" run wide.onnx --threads=2
places $two ./wide --threads=2
places 1 env OMP_PROC_BIND=false ./wide --threads=2
places 0 "$onnxc" run wide.onnx
places 0 "$onnxc" run mlp/model.onnx --threads=2 # too small for two
expect 2 "--affinity wants close, spread or none" "$onnxc" run wide.onnx --affinity=far

# ---- looking at models ----
expect 0 "3 Gemm" "$onnxc" inspect mlp/model.onnx
expect 0 "live at once (x 1." "$onnxc" inspect mlp/model.onnx
expect 0 '"live_set_bytes": ' "$onnxc" inspect --json mlp/model.onnx
expect 0 "" "$onnxc" gen mlp -o open.onnx --batch=rows --layers=8,9,10,4
expect 0 "as large as dims say" "$onnxc" inspect open.onnx
expect 0 "live at once" "$onnxc" bench --no-peak --duration=0.1 mlp/model.onnx
expect 0 '"live_set_bytes": ' "$onnxc" bench --no-peak --json --duration=0.1 mlp/model.onnx
expect 0 '"Gemm": 3' "$onnxc" inspect --json mlp/model.onnx
expect 0 "digraph" "$onnxc" inspect --dot mlp/model.onnx
expect 0 "x86-64-v3" "$onnxc" targets

# ---- symbolic dims ----
mkdir gemm
expect 0 "" "$onnxc" gen gemm -o gemm/model.onnx --m=rows --n=19 --k=21 --variable-b --test-data
expect 0 "1 passed" "$onnxc" verify gemm
expect 2 "random data needs its shape" "$onnxc" run gemm/model.onnx
expect 0 "c: f32[5, 19]" "$onnxc" run gemm/model.onnx --dim rows=5
expect 0 "c: f32[6, 19]" "$onnxc" run gemm/model.onnx --shape a=6x21
expect 2 "no dim 'cols'; its dims that can be given are: rows" "$onnxc" run gemm/model.onnx --dim cols=5
expect 2 "dim 1 is 21 in the model, not 22" "$onnxc" run gemm/model.onnx --shape a=6x22

# ---- other types: what is generated is verified, and a layer is one product whatever its epilogue ----
generate() { # NAME KIND ARGUMENTS...
  local name=$1
  shift
  mkdir "$name"
  expect 0 "" "$onnxc" gen "$1" -o "$name/model.onnx" --test-data "${@:2}"
  expect 0 "1 passed" "$onnxc" verify --atol="${atol:-1e-5}" "$name"
}
for dtype in f16 bf16 int8; do
  generate mlp_$dtype mlp --dtype=$dtype --batch=9 --layers=40,33,24 --bias --relu
  generate gelu_$dtype mlp --dtype=$dtype --batch=9 --layers=40,33,24 --activation=gelu
  generate pairs_$dtype gemm --dtype=$dtype --batch=3 --m=rows --n=19 --k=21 --bias
  expect 0 "2 groups" "$onnxc" verify mlp_$dtype
done
generate gemm_int8 gemm --dtype=int8 --m=17 --n=33 --k=50
expect 0 "c: i32[17, 33]" "$onnxc" run gemm_int8/model.onnx
generate gemm_u8 gemm --dtype=int8 --requantize --m=17 --n=33 --k=50
expect 0 "1 QLinearMatMul" "$onnxc" inspect gemm_u8/model.onnx
expect 0 "c: u8[17, 33]" "$onnxc" run gemm_u8/model.onnx
expect 2 "integers have no GELU" "$onnxc" gen gemm -o never.onnx --dtype=int8 --activation=gelu
expect 2 "--requantize is for --dtype=int8" "$onnxc" gen gemm -o never.onnx --requantize
expect 2 "not 'i8'" "$onnxc" gen gemm -o never.onnx --dtype=i8
expect 2 "not 'cubic'" "$onnxc" gen mlp -o never.onnx --activation=cubic
# integers may differ by what is asked for, not by more
mkdir -p off/test_data_set_0
cp gemm_u8/model.onnx off/
cp gemm_u8/test_data_set_0/input_0.pb off/test_data_set_0/
last=$(tail -c 1 gemm_u8/test_data_set_0/output_0.pb | od -An -tu1)
head -c -1 gemm_u8/test_data_set_0/output_0.pb >off/test_data_set_0/output_0.pb
# shellcheck disable=SC2059
printf "\\x$(printf %x $((last < 255 ? last + 1 : last - 1)))" >>off/test_data_set_0/output_0.pb
expect 1 "off  opset 20  FAIL" "$onnxc" verify off
expect 0 "1 passed" "$onnxc" verify --atol=1 off

# ---- passes over text ----
"$onnxc" opt gemm/model.onnx >gemm.txt
expect 0 "graph @gemm" "$onnxc" opt gemm.txt
expect 0 "roles=" "$onnxc" opt gemm.txt --passes=pipeline
expect 0 "" cmp gemm.txt <("$onnxc" opt gemm.txt)
expect 0 "# after recognise" "$onnxc" opt gemm.txt --passes=recognise,dce --print-after=recognise
expect 2 "nonsense" "$onnxc" opt gemm.txt --passes=nonsense
echo 'graph @g(%x: f32[2]) { %y = ' >bad.txt
expect 3 "bad.txt:2:1: expected" "$onnxc" opt bad.txt
expect 0 "fuse" "$onnxc" opt --list

# ---- a wrong expectation is a mismatch ----
mkdir -p wrong/test_data_set_0
cp mlp/model.onnx wrong/
cp mlp/test_data_set_0/input_0.pb wrong/test_data_set_0/
cp mlp/test_data_set_0/input_0.pb wrong/test_data_set_0/output_0.pb
expect 1 "wrong  opset 20  FAIL" "$onnxc" verify wrong
expect 1 "by node: all agree with the reference evaluator" "$onnxc" verify --per-node wrong
expect 1 "1 passed, 1 failed" "$onnxc" verify mlp wrong

# ---- bad input ----
head -c 5000 /dev/urandom >random.onnx
: >empty.onnx
head -c 2000 mlp/model.onnx >truncated.onnx
base64 -d >external.onnx <<'B64'
CAgSADpyChQKAXgKAXcSAXkaBGFkZDEiA0FkZBIBZyotCAMQAUIBd2oUCghsb2NhdGlvbhIIZ29uZS5iaW5qDAoGbGVuZ3RoEgIxMnABWhMKAXgS
DgoMCAESCAoCCAIKAggDYhMKAXkSDgoMCAESCAoCCAIKAggDQgQKABAR
B64
base64 -d >unknown.onnx <<'B64'
CAg6dAobCgF4EgF0GgdvZGQgb25lIgpGcm9ibmljYXRlCgwKAXQSAXUiBFJlbHUKGgoBdRIBeSIHTXlzdGVyeToJbXkuZG9tYWluEgFnWhMKAXgS
DgoMCAESCAoCCAIKAggDYhMKAXkSDgoMCAESCAoCCAIKAggDQgQKABARQg0KCW15LmRvbWFpbhAB
B64
base64 -d >mismatch.onnx <<'B64'
CAg6XgoUCgF4CgF3EgF5GgRhZGQxIgNBZGQSAWcqGQgEEAEiEAAAgD8AAABAAABAQAAAgEBCAXdaEwoBeBIOCgwIARIICgIIAgoCCANiEwoBeRIO
CgwIARIICgIIAgoCCANCBAoAEBE=
B64
for verb in compile run inspect; do
  out=()
  [ $verb = compile ] && out=(-o never.so)
  expect 3 "random.onnx: not an ONNX model" "$onnxc" $verb random.onnx "${out[@]}"
  expect 3 "empty.onnx: not an ONNX model: the file is empty" "$onnxc" $verb empty.onnx "${out[@]}"
  expect 3 "is the file truncated?" "$onnxc" $verb truncated.onnx "${out[@]}"
  expect 3 "external.onnx: initializer 'w': cannot open external data 'gone.bin'" "$onnxc" $verb external.onnx "${out[@]}"
  expect 3 "mismatch.onnx: node 'add1' (Add-17): " "$onnxc" $verb mismatch.onnx "${out[@]}"
  expect 4 "unknown.onnx: node 'odd one' (Frobnicate-17): not supported" "$onnxc" $verb unknown.onnx "${out[@]}"
  expect 4 "unknown.onnx: node 'y' (my.domain.Mystery-1): not supported" "$onnxc" $verb unknown.onnx "${out[@]}"
  expect 3 "No such file" "$onnxc" $verb nothing.onnx "${out[@]}"
done
expect 1 "" test -e never.so
expect 3 "input 'x' is f32[16, 64]" "$onnxc" run mlp/model.onnx --input x=wrong/../gemm/test_data_set_0/input_0.pb
expect 3 "y.npy: it is not a .npy file" sh -c 'echo hello hello hello >y.npy; exec "$0" run mlp/model.onnx --input y.npy' "$onnxc"
expect 3 "its size does not fit its shape" sh -c 'head -c 1000 jit/y.npy >short.npy; exec "$0" run mlp/model.onnx --input short.npy' "$onnxc"
expect 3 "not a compiled model" sh -c 'cp random.onnx fake.so; exec "$0" run fake.so' "$onnxc"

# ---- wrong usage ----
expect 2 "usage: onnxc" "$onnxc"
expect 2 "there is no verb 'frob'" "$onnxc" frob
expect 0 "usage: onnxc" "$onnxc" --help
expect 0 "onnxc 0." "$onnxc" --version
for verb in compile run verify bench inspect gen opt; do
  expect 0 "usage: onnxc $verb" "$onnxc" $verb --help
  expect 2 "" "$onnxc" $verb
  expect 2 "" "$onnxc" $verb --no-such-option
done
expect 2 "does not say what to write" "$onnxc" compile mlp/model.onnx -o mlp.zip
expect 2 "unknown CPU 'pdp11'" "$onnxc" compile mlp/model.onnx -o x.so --mcpu=pdp11
expect 2 "no pass is called 'nonsense'" "$onnxc" compile mlp/model.onnx -o x.ir --print-after=nonsense
expect 3 "no test_data_set_0 beside it" "$onnxc" verify random.onnx
expect 3 "no such file or folder" "$onnxc" verify nowhere
expect 2 "with the name of an input" "$onnxc" run mlp/model.onnx --input z=jit/y.npy

echo "$checks checks, $failures failed"
[ $failures -eq 0 ] && [ $checks -gt 90 ]
