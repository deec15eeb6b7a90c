# SPDX-License-Identifier: MIT
"""usage: export_onnx.py NET.safetensors NET.onnx

Writes a net of flowmatch, VelocityMlp or ConditionalVelocityMlp, as v(x, t, c) in ONNX, operator set 17, for any
runtime: x and v float32 [n, dim], t [n, 1], and c [n, condition_dim] if the net has conditions; weights of double are
rounded. Needs onnx, numpy and safetensors, not PyTorch.
"""
import math
import sys
import zlib

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save
from safetensors import safe_open


def model_of(path):
    with safe_open(path, "numpy") as file:
        options = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if options.get("kind") not in ("velocity_mlp", "conditional_velocity_mlp"):
        raise ValueError("%s: expected a net, got kind %s" % (path, options.get("kind")))
    if options.get("flowmatch.format_version") != "1":
        raise ValueError("%s: expected format version 1, got %s" % (path, options.get("flowmatch.format_version")))
    if options.get("flowmatch.checksum") != checksum(options, tensors):
        raise ValueError("%s: expected checksum %s for what is in the file" % (path, checksum(options, tensors)))
    weights = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    dim, frequencies = int(options["dim"]), int(options["time_frequencies"])
    nodes, constants = [], [numpy_helper.from_array(array, name) for name, array in weights.items()]

    def node(operator, *inputs, **attributes):
        """Appends operator(inputs) and returns the name of its output. Inputs are names, or numbers."""
        names = []
        for value in inputs:
            names.append(value if isinstance(value, str) else "constant_%d" % len(constants))
            if not isinstance(value, str):
                constants.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        output = "%s_%d" % (operator, len(nodes))
        nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def real(value):
        return np.asarray(value, np.float32)

    def activation(z):
        return {"silu": lambda: node("Mul", z, node("Sigmoid", z)),
                "gelu": lambda: node("Mul", node("Mul", z, real(0.5)),
                                     node("Add", node("Erf", node("Mul", z, real(math.sqrt(0.5)))), real(1))),
                "tanh": lambda: node("Tanh", z),
                "relu": lambda: node("Relu", z),
                "selu": lambda: node("Selu", z),
                "softplus": lambda: node("Softplus", z)}[options["activation"]]()

    def layer(l, h):
        return node("Gemm", h, "layers.%d.weight" % l, "layers.%d.bias" % l, transB=1)

    inputs, parts = {"x": dim, "t": 1}, ["x", "t"]
    if frequencies > 0:  # sin(k pi t) and cos(k pi t)
        turns = node("Mod", node("Mul", "t", real(range(1, frequencies + 1))), real(2), fmod=1)
        angle = node("Mul", turns, real(math.pi))
        parts += [node("Sin", angle), node("Cos", angle)]
    rows = int(options["condition_dim"])
    if options["kind"] == "conditional_velocity_mlp":  # c = [label, vector]
        rows += 1 - int(options["embedding_dim"])
        label = node("Gather", "c", 0, axis=1)
        parts.append(node("Gather", "condition_embedding.weight", node("Cast", label, to=TensorProto.INT64)))
        if rows > 1:
            is_none = node("Equal", node("Gather", "c", [0], axis=1), real(options["classes"]))
            parts.append(node("Where", is_none, "condition_null", node("Gather", "c", list(range(1, rows)), axis=1)))
    elif rows > 0:
        parts.append("c")
    if rows > 0:
        inputs["c"] = rows

    h = layer(0, node("Concat", *parts, axis=1))
    for l in range(1, sum(name.startswith("layers.") for name in weights) // 2):
        norm = "norms.%d" % l
        if norm + ".weight" in weights:
            normal = node("LayerNormalization", h, norm + ".weight", norm + ".bias", epsilon=1e-5)
            h = node("Add", h, layer(l, activation(normal)))
        else:
            h = layer(l, activation(h))

    def rows_of(name, width):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])

    graph = helper.make_graph(nodes + [helper.make_node("Identity", [h], ["v"])], "velocity",
                              [rows_of(*item) for item in inputs.items()], [rows_of("v", dim)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model


def checksum(metadata, tensors):
    """CRC-32 of keys and values but its own, then of name, dtype, shape and bytes of each tensor; all sorted."""
    parts = [text for key in sorted(metadata) if key != "flowmatch.checksum" for text in (key, metadata[key])]
    crc = zlib.crc32("".join(text + "\0" for text in parts).encode())
    for name in sorted(tensors):
        shape = ",".join(map(str, tensors[name].shape))
        crc = zlib.crc32(("%s\0F%d\0%s\0" % (name, 8 * tensors[name].itemsize, shape)).encode(), crc)
        crc = zlib.crc32(tensors[name].tobytes(), crc)
    return "%08x" % crc


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    save(model_of(sys.argv[1]), sys.argv[2])
