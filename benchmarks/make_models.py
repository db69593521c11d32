"""Models for benchmarks/models that nobody ships: networks with seeded weights.

    make_models.py FOLDER [LIGHT_MODEL.onnx ...]

Writes into FOLDER, unless it is there already, NAME.onnx for mobilenet (inverted residuals with depthwise convolutions,
1x3x224x224), bert (12 encoder layers of BERT-base: batch 1, sequence 128), and, for each of ONNX's light models, the same
network with weights in place of its ConstantOfShape nodes. Weights are drawn from seeded normal distributions whose
scale keeps activations in range: equal or zero weights would serve for no measurement of speed.
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Nodes and initializers of one graph."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights, self.count = [], [], 0

    def add(self, op, inputs, **attributes):
        self.count += 1
        name = f"{op.lower()}_{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def constant(self, values):
        self.count += 1
        name = f"w_{self.count}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def normal(self, shape, scale):
        return self.constant((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def save(self, path, name, inputs, outputs):
        make = lambda specs: [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in specs]
        graph = helper.make_graph(self.nodes, name, make(inputs), make(outputs), self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def mobilenet(path):
    """Sandler et al., MobileNetV2 (2018), table 2: expansion, channels, repeats, stride."""
    b = Builder(2)

    def convolution(x, inputs, outputs, kernel, stride=1, group=1, clip=True):
        fan = inputs // group * kernel * kernel
        w = b.normal((outputs, inputs // group, kernel, kernel), np.sqrt(2 / fan))
        y = b.add("Conv", [x, w], group=group, strides=[stride] * 2, pads=[kernel // 2] * 4, kernel_shape=[kernel] * 2)
        scale = [b.constant(b.rng.uniform(*r, outputs).astype(np.float32)) for r in ((0.5, 1.5), (-0.1, 0.1), (-0.1, 0.1), (0.5, 1.5))]
        y = b.add("BatchNormalization", [y, *scale])
        return b.add("Clip", [y, b.constant(np.float32(0)), b.constant(np.float32(6))]) if clip else y

    x, channels = convolution("x", 3, 32, 3, 2), 32
    for expand, outputs, repeats, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for k in range(repeats):
            wide = channels * expand
            y = convolution(x, channels, wide, 1) if expand > 1 else x
            y = convolution(y, wide, wide, 3, stride if k == 0 else 1, wide)
            y = convolution(y, wide, outputs, 1, clip=False)
            x = b.add("Add", [x, y]) if k > 0 else y
            channels = outputs
    x = b.add("GlobalAveragePool", [convolution(x, channels, 1280, 1)])
    x = b.add("Flatten", [x])
    y = b.add("Gemm", [x, b.normal((1280, 1000), 0.03), b.normal((1000,), 0.1)])
    b.save(path, "mobilenet", [("x", [1, 3, 224, 224])], [(y, [1, 1000])])


def bert(path, layers=12, width=768, heads=12, length=128, batch=1):
    """Devlin et al., BERT (2019): the encoder stack as exporters write it, with an additive mask."""
    b = Builder(3)

    def dense(x, inputs, outputs):
        return b.add("Add", [b.add("MatMul", [x, b.normal((inputs, outputs), 1 / np.sqrt(inputs))]), b.normal((outputs,), 0.02)])

    def normalize(x):
        scale = b.constant(b.rng.uniform(0.8, 1.2, width).astype(np.float32))
        return b.add("LayerNormalization", [x, scale, b.normal((width,), 0.02)], axis=-1, epsilon=1e-12)

    split = b.constant(np.array([batch, length, heads, width // heads], np.int64))
    merged = b.constant(np.array([batch, length, width], np.int64))
    root, half, one, two = (b.constant(np.float32(v)) for v in (np.sqrt(width // heads), 0.5, 1, np.sqrt(2)))
    x = "x"
    for _ in range(layers):
        q, k, v = (b.add("Reshape", [dense(x, width, width), split]) for _ in range(3))
        q, v = (b.add("Transpose", [t], perm=[0, 2, 1, 3]) for t in (q, v))
        scores = b.add("Div", [b.add("MatMul", [q, b.add("Transpose", [k], perm=[0, 2, 3, 1])]), root])
        weights = b.add("Softmax", [b.add("Add", [scores, "mask"])], axis=-1)
        y = b.add("Transpose", [b.add("MatMul", [weights, v])], perm=[0, 2, 1, 3])
        x = normalize(b.add("Add", [dense(b.add("Reshape", [y, merged]), width, width), x]))
        h = dense(x, width, 4 * width)
        h = b.add("Mul", [b.add("Mul", [h, b.add("Add", [b.add("Erf", [b.add("Div", [h, two])]), one])]), half])
        x = normalize(b.add("Add", [dense(h, 4 * width, width), x]))
    b.save(path, "bert", [("x", [batch, length, width]), ("mask", [batch, 1, 1, length])], [(x, [batch, length, width])])


def seeded(source, path):
    """ONNX's light models make their weights by ConstantOfShape; here they become initializers."""
    model = onnx.load(source)
    graph, rng = model.graph, np.random.default_rng(1)
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    known |= {n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in graph.node if n.op_type == "Constant"}
    made = {n.output[0]: tuple(int(d) for d in known[n.input[0]]) for n in graph.node if n.op_type == "ConstantOfShape"}
    users = {name: (node.op_type, k) for node in graph.node for k, name in enumerate(node.input) if name in made}
    for name, (op, k) in users.items():
        shape = made[name]
        if op in ("Conv", "Gemm", "MatMul") and k == 1:
            inputs = shape[0] if op == "MatMul" else int(np.prod(shape[1:]))
            values = rng.standard_normal(shape) * np.sqrt(2 / inputs)
        elif op == "Mul" or (op == "BatchNormalization" and k in (1, 4)):
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.standard_normal(shape) * 0.1
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    kept = [n for n in graph.node if n.output[0] not in users]
    del graph.node[:]
    graph.node.extend(kept)
    onnx.save(model, path)


def main():
    folder, *light = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    makers = {"mobilenet": mobilenet, "bert": bert}
    for source in light:
        makers[os.path.splitext(os.path.basename(source))[0].removeprefix("light_")] = lambda path, source=source: seeded(source, path)
    for name, make in makers.items():
        path = os.path.join(folder, name + ".onnx")
        if not os.path.exists(path):
            make(path + ".part")
            os.rename(path + ".part", path)


main()
