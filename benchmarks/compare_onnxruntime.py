"""Measures models with onnxc and with ONNX Runtime in turn; see compare-onnxruntime."""
import argparse
import json
import os
import statistics
import subprocess
import time

import numpy as np
import onnxruntime as ort

TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}


def feeds(session, dims):
    rng = np.random.default_rng(0)
    result = {}
    for spec in session.get_inputs():
        shape = [d if isinstance(d, int) and d > 0 else dims.get(d, 1) for d in spec.shape]
        kind = TYPES[spec.type]
        result[spec.name] = rng.standard_normal(shape).astype(kind) if kind == np.float32 else rng.integers(0, 9, shape).astype(kind)
    return result


def time_peer(session, inputs, seconds):
    for _ in range(3):
        session.run(None, inputs)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        session.run(None, inputs)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def time_ours(onnxc, model, dims, seconds):
    command = [onnxc, "bench", model, f"--duration={seconds}", "--json"]
    for name, value in dims.items():
        command += ["--dim", f"{name}={value}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--onnxc", required=True)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    os.sched_setaffinity(0, {args.core})
    for spec in args.models:
        model, _, settings = spec.partition(":")
        dims = {k: int(v) for k, v in (s.split("=") for s in settings.split(",") if s)}
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs = feeds(session, dims)
        ours, peer, share = [], [], []
        for _ in range(args.rounds):
            peer.append(time_peer(session, inputs, args.seconds))
            result = time_ours(args.onnxc, model, dims, args.seconds)
            ours.append(result["median"] * 1e3)
            share.append(result.get("share_of_peak"))
        a, b = statistics.median(ours), statistics.median(peer)
        shares = [s for s in share if s is not None]
        print(json.dumps({"model": model, "impl": "onnxc", "ms": round(a, 4), "share_of_peak": statistics.median(shares) if shares else None}))
        print(json.dumps({"model": model, "impl": "onnxruntime", "version": ort.__version__, "ms": round(b, 4)}))
        print(json.dumps({"model": model, "onnxc_over_onnxruntime": round(a / b, 3)}), flush=True)


if __name__ == "__main__":
    main()
