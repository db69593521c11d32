"""How much a model's outputs change with --precision=bf16: the largest class, and errors over the range.

    build/venv/bin/python benchmarks/agreement.py resnet50.onnx --inputs 100 --agree 0.99
    build/venv/bin/python benchmarks/agreement.py bert.onnx --inputs 10 --error 1e-2

Compiles the model twice, runs both on seeded inputs, and prints for each output: on how many inputs the largest element
of the last dim is the same in all places, and the largest error over the range of the output in f32 (maximum - minimum),
in the worst run. Fails if less than --agree of the inputs agree, or an error is above --error.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

ONNXC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../build/release/onnxc")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model")
    arguments.add_argument("--inputs", type=int, default=100)
    arguments.add_argument("--agree", type=float, default=0)
    arguments.add_argument("--error", type=float, default=float("inf"))
    arguments.add_argument("--onnxc", default=ONNXC)
    arguments.add_argument("--input", action="append", default=[], help="NAME of an input that is seeded; all by default")
    options = arguments.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for precision in ("f32", "bf16"):
            paths[precision] = os.path.join(folder, precision)
            subprocess.run([options.onnxc, "compile", "-q", options.model, f"--precision={precision}",
                            "-o", paths[precision] + ".so"], check=True)
        names = options.input or input_names(options)
        same, errors = {}, {}
        for seed in range(1, options.inputs + 1):
            for path in paths.values():
                seeds = [word for name in names for word in ("--input", f"{name}=random:{seed}")]
                subprocess.run([options.onnxc, "run", path + ".so", "--output-dir", path, *seeds],
                               check=True, stdout=subprocess.DEVNULL)
            for file in sorted(os.listdir(paths["f32"])):
                want, have = (np.load(os.path.join(path, file)) for path in paths.values())
                agrees = want.ndim == 0 or np.array_equal(want.argmax(-1), have.argmax(-1))
                same[file] = same.get(file, 0) + agrees
                spread = float(want.max()) - float(want.min())
                error = float(np.abs(want - have).max()) / spread if spread else 0
                errors[file] = max(errors.get(file, 0), error)
    for file in same:
        print(f"{file[:-4]}: largest element the same for {same[file]} of {options.inputs} inputs, "
              f"error at most {errors[file]:.2e} of the range")
        good = good and same[file] >= options.agree * options.inputs and errors[file] <= options.error
    return 0 if good else 1


def input_names(options):
    """As `onnxc inspect` lists them: input NAME: TYPE."""
    lines = subprocess.run([options.onnxc, "inspect", options.model], check=True, stdout=subprocess.PIPE, text=True)
    words = [line.split() for line in lines.stdout.splitlines()]
    return [word[1].rstrip(":") for word in words if len(word) > 1 and word[0] == "input"]


sys.exit(main())
