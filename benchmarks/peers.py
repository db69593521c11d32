"""ONNX Runtime or OpenVINO, driven by onnxc-bench (impl_python.c) or models.py: a line of JSON in, a line of JSON out.

The session, its inputs and its outputs are made once; a window only runs it. The call from Python costs some ten
microseconds a run, which is part of what is measured.
"""
import json
import os
import sys
import time


ORT_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(int32)": "int32",
             "tensor(int64)": "int64", "tensor(bool)": "bool"}


def read(file, types, type, shape):
    """An input: .npy says its shape, raw bytes have the one that the model declares."""
    if file.endswith(".npy"):
        return np.load(file)
    if type not in types:
        raise ValueError("not offered: " + type)
    return np.fromfile(file, types[type]).reshape(shape)


class OnnxRuntime:
    def __init__(self):
        import onnxruntime

        self.ort = onnxruntime
        self.version = onnxruntime.__version__

    def open(self, job):
        ort, cores = self.ort, job["cores"]
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = len(cores)
        options.inter_op_num_threads = 1
        if len(cores) > 1:  # the calling thread is one of them; processors count from 1
            affinities = ";".join(str(core + 1) for core in cores[1:])
            options.add_session_config_entry("session.intra_op_thread_affinities", affinities)
        session = ort.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        for spec in session.get_inputs():
            values = read(job["inputs"][spec.name], ORT_TYPES, spec.type, spec.shape)
            binding.bind_ortvalue_input(spec.name, ort.OrtValue.ortvalue_from_numpy(values))
        for spec in session.get_outputs():  # in memory of their own where their shape is known before a run
            if all(isinstance(d, int) for d in spec.shape) and spec.type in ORT_TYPES:
                output = ort.OrtValue.ortvalue_from_shape_and_type(spec.shape, np.dtype(ORT_TYPES[spec.type]).type)
                binding.bind_ortvalue_output(spec.name, output)
            else:
                binding.bind_output(spec.name)
        os.sched_setaffinity(0, {cores[0]})
        return (lambda: session.run_with_iobinding(binding)), (lambda: binding.get_outputs()[0].numpy())


class OpenVino:
    def __init__(self):
        import openvino

        self.ov = openvino
        self.version = openvino.__version__.split("-")[0]

    def open(self, job):
        ov, cores = self.ov, job["cores"]
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": len(cores),
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "bf16" if job["dtype"] == "bf16" else "f32",
        }
        model = ov.Core().read_model(job["model"])
        arrays = {name: np.load(file) for name, file in job["inputs"].items() if file.endswith(".npy")}
        if arrays:
            model.reshape({name: list(values.shape) for name, values in arrays.items()})
        compiled = ov.Core().compile_model(model, "CPU", config)
        request = compiled.create_infer_request()
        for port in compiled.inputs:
            stored = "uint16" if port.element_type == ov.Type.bf16 else port.element_type.to_dtype()
            file = next(job["inputs"][name] for name in port.names if name in job["inputs"])
            values = np.load(file) if file.endswith(".npy") else np.fromfile(file, stored)
            tensor = ov.Tensor(port.element_type, port.shape)
            np.copyto(tensor.data.reshape(-1).view(stored), values.reshape(-1))
            request.set_tensor(port, tensor)
        bf16 = compiled.outputs[0].element_type == ov.Type.bf16

        def result():
            data = request.get_output_tensor(0).data
            return data.view(np.uint16) if bf16 else data

        self.result_is_bf16 = bf16
        return (lambda: request.infer(share_outputs=True)), result


def measure(run, seconds, estimate):
    count = max(1, round(seconds / estimate)) if estimate else 1
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count


def main():
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    try:
        peer = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}[sys.argv[1]]()
    except ImportError:
        return
    run, estimate = None, 0
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "version" in request:
                answer = {"version": peer.version}
            elif "open" in request:
                job = request["open"]
                peer.result_is_bf16 = False
                run, result = peer.open(job)
                run()
                values = np.ascontiguousarray(result())
                if "result" in job:
                    values.tofile(job["result"])
                answer = {"type": "bfloat16" if peer.result_is_bf16 else str(values.dtype)}
                estimate = measure(run, 0, 0)
                if estimate < 0.1:
                    estimate = min(measure(run, 0, 0) for _ in range(5))
            elif "window" in request:
                answer = {"seconds": measure(run, request["window"], estimate)}
            else:
                run, answer = None, {}
        except Exception as error:  # the benchmark reports it and goes on
            text = str(error).strip().split("\n")[-1][:180]
            answer = {"error": "not offered" if "NOT_IMPLEMENTED" in text else text}
        json.dump(answer, replies)
        replies.write("\n")
        replies.flush()


try:
    import numpy as np
except ImportError:
    sys.exit(1)
main()
