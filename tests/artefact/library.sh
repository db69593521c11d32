#!/usr/bin/env bash
# library.sh NAME -- compiles a model to a shared library with threads and calls it from a C program. NAME is a folder
# of ../shared/models, or light_...: one of ONNX's light networks.
source "$(dirname "$0")/common.sh"
name=$1
case $name in
light_*)
  find_onnx_tests "$ONNX_WORK"
  model=$data/light/$name.onnx
  arguments=(--ramp "$data/light/${name}_output_0.pb")
  ;;
*)
  model=$shared/models/$name/model.onnx
  arguments=("$shared/models/$name")
  ;;
esac
[ -f "$model" ] || skip "$name: there is no such model"
"$ONNXC" compile "$model" -o "$WORK/$name.so" --threads=8
with_openmp "$CALL_LIBRARY" "$WORK/$name.so" "$name" "${arguments[@]}"
