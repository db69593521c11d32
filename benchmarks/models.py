"""Measures whole models with onnxc, ONNX Runtime and OpenVINO in turn; see the script `models`.

One JSON object a line: model, precision, threads, cpu, date, impl, version, ms (the median over the rounds), rounds (each round's
ms), or error; for onnxc also gflops, share_of_peak, load (seconds), peak_memory_bytes. A round gives each implementation
some windows of about 50 ms, another one first each time, and takes their median.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys

import numpy as np
import onnxruntime as ort

TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8}
HERE = os.path.dirname(os.path.abspath(__file__))
# Dims that a model leaves open, by input: what its users give them.
SHAPES = {"ppocr_det": {"x": [1, 3, 640, 640]}, "ppocr_cls": {"x": [1, 3, 48, 192]}}


def cpu_name():
    """The processor, with its family and model: virtual machines often hide the name."""
    with open("/proc/cpuinfo") as lines:
        facts = dict(line.split(":", 1) for line in lines.read().split("\n\n")[0].split("\n") if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    return f"{facts.get('model name')} (family {facts.get('cpu family')}, model {facts.get('model')})"


def shared_input(model, name):
    """The input in the test data beside the model, if there is any."""
    folder = os.path.join(os.path.dirname(model), "test_data_set_0")
    if not os.path.isdir(folder):
        return None
    import onnx

    for file in sorted(os.listdir(folder)):
        if file.startswith("input_"):
            tensor = onnx.TensorProto()
            with open(os.path.join(folder, file), "rb") as data:
                tensor.ParseFromString(data.read())
            if tensor.name == name:
                return onnx.numpy_helper.to_array(tensor)
    return None


def make_inputs(name, model, folder):
    """Seeded inputs as .npy files, by name."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rng, files = np.random.default_rng(0), {}
    for k, spec in enumerate(session.get_inputs()):
        given, kind = shared_input(model, spec.name), TYPES[spec.type]
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in spec.shape]
        shape = SHAPES.get(name, {}).get(spec.name) or (list(given.shape) if given is not None else shape)
        if kind == np.float32:
            values = rng.standard_normal(shape)
        else:  # sizes, rates and indices mean something
            values = given if given is not None else rng.integers(0, 9, shape)
        files[spec.name] = os.path.join(folder, f"{name}-{k}.npy")
        np.save(files[spec.name], values.astype(kind))
    return files


class Peer:
    """peers.py in a process of its own."""

    def __init__(self, name, model, inputs, cores, dtype):
        command = [sys.executable, os.path.join(HERE, "peers.py"), name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.version = self.ask({"version": True})["version"]
        self.ask({"open": {"model": model, "inputs": inputs, "cores": cores, "dtype": dtype}})

    def ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        answer = json.loads(answer) if answer else {"error": "the process ended"}
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def round(self, seconds):
        count = max(3, round(seconds / 0.05))
        return 1e3 * statistics.median(self.ask({"window": 0.05})["seconds"] for _ in range(count))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Onnxc:
    """`onnxc bench`, which loads and compiles the model in each round."""

    def __init__(self, onnxc, model, inputs, threads, dtype):
        self.command = [onnxc, "bench", model, "--json", f"--threads={threads}"]
        self.command += [a for name, file in inputs.items() for a in ("--input", f"{name}={file}")]
        for name, file in inputs.items():
            shape = np.load(file, mmap_mode="r").shape
            self.command += ["--shape", name + "=" + "x".join(str(d) for d in shape)] if shape else []
        self.command += ["--precision=bf16"] if dtype == "bf16" else []
        self.version = subprocess.run([onnxc, "--version"], capture_output=True, text=True).stdout.split()[-1]
        self.last = {}

    def round(self, seconds):
        run = subprocess.run(self.command + [f"--duration={seconds}"], capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(run.stderr.strip().split("\n")[0][:180] or f"exit status {run.returncode}")
        self.last = json.loads(run.stdout)
        return 1e3 / self.last["runs_per_second"]

    def close(self):
        pass


def measure(args, name, model, threads, cores, folder):
    inputs = make_inputs(name, model, folder)
    impls, rows = {}, {}
    for impl in args.impls:
        row = rows[impl] = {"model": name, "precision": args.precision, "threads": threads, "cpu": cpu_name(),
                            "date": datetime.date.today().isoformat(), "impl": impl}
        try:
            if impl == "onnxc":
                impls[impl] = Onnxc(args.onnxc, model, inputs, threads, args.precision)
            else:
                impls[impl] = Peer(impl, model, inputs, cores, args.precision)
            row["version"] = impls[impl].version
            row["rounds"] = []
        except RuntimeError as error:
            row["error"] = str(error)
    names = list(impls)
    for k in range(args.rounds):
        for impl in names[k % len(names):] + names[:k % len(names)]:
            if "error" in rows[impl]:
                continue
            try:
                rows[impl]["rounds"].append(round(impls[impl].round(args.seconds), 5))
            except RuntimeError as error:
                rows[impl]["error"] = str(error)
    for impl, row in rows.items():
        if impl in impls:
            impls[impl].close()
        if "error" not in row:
            row["ms"] = statistics.median(row["rounds"])
        if impl == "onnxc" and "error" not in row:
            for key in ("gflops", "share_of_peak", "load", "peak_memory_bytes"):
                row[key] = impls[impl].last.get(key)
        print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--onnxc", required=True)
    parser.add_argument("--folder", required=True, help="of what the measurement needs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of an implementation's part of a round")
    parser.add_argument("--threads", type=lambda s: [int(t) for t in s.split(",")], default=[1, 2])
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--impls", type=lambda s: s.split(","), default=["onnxc", "onnxruntime", "openvino"])
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL.onnx")
    args = parser.parse_args()
    available = sorted(os.sched_getaffinity(0))
    for threads in args.threads:
        if threads > len(available):
            continue
        cores = available[-threads:]
        os.sched_setaffinity(0, cores)
        for spec in args.models:
            name, model = spec.split("=", 1)
            measure(args, name, model, threads, cores, args.folder)
        os.sched_setaffinity(0, available)


main()
