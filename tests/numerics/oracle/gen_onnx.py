#!/usr/bin/env python3
"""Writes tests/data/onnx: small ONNX models and what ONNX Runtime answers.

usage: gen_onnx.py OUTPUT     (needs the packages onnx, onnxruntime and numpy)

Each model is made of the operators that exporters write. The manifest has, for each, the tensor
whose values are recorded (the class scores), the image by a rule, and the values.
"""
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


class Model:
    """Collects nodes and random weights."""

    def __init__(self, seed, opset):
        self.random = np.random.RandomState(seed)
        self.opset = opset
        self.nodes = []
        self.initializers = []
        self.count = 0

    def weight(self, name, *shape, scale=None, positive=False):
        fan = np.prod(shape[1:]) if len(shape) > 1 else 4
        values = self.random.randn(*shape) * (scale or 1 / np.sqrt(fan))
        if positive:
            values = np.abs(values) + 0.5
        return self.constant(name, values.astype(np.float32))

    def constant(self, name, values):
        self.initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def __call__(self, op, *inputs, outputs=1, **attributes):
        self.count += 1
        names = [f"{op.lower()}_{self.count}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"/{op}_{self.count}",
                                           **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, name, cin, cout, k, bias=True, group=1, **attributes):
        inputs = [x, self.weight(f"{name}.weight", cout, cin // group, k, k)]
        if bias:
            inputs.append(self.weight(f"{name}.bias", cout, scale=0.3))
        return self("Conv", *inputs, kernel_shape=[k, k], group=group, **attributes)

    def batch_norm(self, x, name, c):
        return self("BatchNormalization", x, self.weight(f"{name}.weight", c, positive=True),
                    self.weight(f"{name}.bias", c, scale=0.2),
                    self.weight(f"{name}.running_mean", c, scale=0.2),
                    self.weight(f"{name}.running_var", c, positive=True), epsilon=1e-5)

    def finish(self, x, shape, output, scores, ir=8):
        graph = helper.make_graph(
            self.nodes, "small", [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(x, TensorProto.FLOAT, [None, None])], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)],
                                  producer_name="zood's tests")
        model.ir_version = ir
        onnx.checker.check_model(model)
        return model, scores


def alexnet():
    m = Model(1, 9)
    x = m.conv("input", "features.0", 3, 8, 5, strides=[2, 2], pads=[2, 2, 2, 2])
    x = m("LRN", m("Relu", x), size=5, alpha=1e-2, beta=0.75, bias=2.0)
    x = m("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    x = m("Relu", m.conv(x, "features.3", 8, 12, 3, group=2, pads=[1, 1, 1, 1]))
    x = m("Flatten", x)
    for i, (cin, cout) in enumerate([(12 * 9, 10), (10, 7)]):
        x = m("Gemm", m("Dropout", x) if i == 0 else m("Relu", x),
              m.weight(f"classifier.{i}.weight", cout, cin), m.weight(f"classifier.{i}.bias", cout),
              transB=1)
    return m.finish(x, ["batch", 3, 16, 16], None, x, ir=4)


def resnet():
    m = Model(2, 13)
    x = m("Relu", m.batch_norm(m.conv("input", "conv1", 3, 8, 3, bias=False, pads=[1, 1, 1, 1]),
                               "bn1", 8))
    y = m("Relu", m.batch_norm(m.conv(x, "layer1.conv1", 8, 8, 3, bias=False, strides=[2, 2],
                                      pads=[1, 1, 1, 1]), "layer1.bn1", 8))
    y = m.batch_norm(m.conv(y, "layer1.conv2", 8, 8, 3, bias=False, pads=[1, 1, 1, 1]),
                     "layer1.bn2", 8)
    x = m("Relu", m("Add", y, m.batch_norm(m.conv(x, "layer1.down", 8, 8, 1, bias=False,
                                                 strides=[2, 2]), "layer1.down_bn", 8)))
    x = m("Flatten", m("GlobalAveragePool", x))
    x = m("Gemm", x, m.weight("fc.weight", 5, 8), m.weight("fc.bias", 5), transB=1)
    return m.finish(x, [1, 3, 12, 12], None, x)


def keras():
    """Channels last, as tf2onnx exports: transposes, SAME padding, MatMul and Add, a softmax."""
    m = Model(3, 13)
    x = m("Transpose", "input", perm=[0, 3, 1, 2])
    x = m("Relu", m.conv(x, "conv", 3, 6, 3, strides=[2, 2], auto_pad="SAME_UPPER"))
    x = m("Transpose", x, perm=[0, 2, 3, 1])
    x = m("Add", m("Mul", x, m.weight("scale", 6, positive=True)), m.weight("shift", 6))
    x = m("Reshape", x, m.constant("flat", np.array([-1, 6 * 30], np.int64)))
    x = m("Add", m("MatMul", x, m.weight("dense/kernel", 180, 4)), m.weight("dense/bias", 4))
    scores = x
    x = m("Softmax", x, axis=-1)
    return m.finish(x, [None, 9, 11, 3], None, scores)


def dynamic():
    """Arithmetic on shapes, paddings of their own, poolings with what is left over."""
    m = Model(4, 11)
    zero, one = (m.constant(n, np.array(v, np.int64)) for n, v in (("zero", 0), ("minus", [-1])))
    pads = m.constant("pads", np.array([0, 0, 1, 0, 0, 0, 2, 1], np.int64))
    x = m.conv(m("Pad", "input", pads), "conv", 3, 6, 3, strides=[2, 2])
    x = m("Clip", x, m.constant("low", np.float32(-0.5)), m.constant("high", np.float32(0.75)))
    x = m("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
          count_include_pad=1)
    x = m("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    x = m("AveragePool", x, kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1])
    batch = m("Unsqueeze", m("Gather", m("Shape", x), zero, axis=0), axes=[0])
    x = m("Reshape", x, m("Concat", batch, one, axis=0))
    x = m("Gemm", x, m.weight("fc", 6 * 9, 3), m.weight("fc_bias", 1, 3), alpha=0.5, beta=2.0)
    return m.finish(x, ["n", 3, 19, 20], None, x)


def inception():
    """Branches, concatenations, slices and splits, constants and vectors in arithmetic."""
    m = Model(5, 13)
    x = m("Div", m("Sub", "input", m.weight("mean", 1, 3, 1, 1)), m.weight("std", 3, 1, 1,
                                                                          positive=True))
    x = m("Mul", m("Add", x, m.constant("half", np.float32(0.5))),
          m.constant("two", np.float32(2)))
    x = m.conv(x, "stem", 3, 8, 3, pads=[1, 1, 1, 1], dilations=[1, 1])
    a = m("PRelu", m.conv(x, "a", 8, 4, 1), m.weight("slopes", 4, 1, 1))
    b = m("LeakyRelu", m.conv(x, "b", 8, 4, 3, pads=[2, 2, 2, 2], dilations=[2, 2]), alpha=0.2)
    c = m.conv(m("MaxPool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]), "c", 8, 3, 1)
    x = m("Concat", a, m("Mul", b, m("Sigmoid", b)), m("Tanh", c), axis=1)
    left, right = m("Split", x, m.constant("lengths", np.array([5, 6], np.int64)), outputs=2, axis=1)
    right = m("Slice", right, m.constant("from", np.array([1], np.int64)),
              m.constant("to", np.array([9223372036854775807], np.int64)),
              m.constant("axis", np.array([1], np.int64)))
    x = m("Sub", left, m("Elu", right))
    x = m("ReduceMean", x, axes=[2, 3], keepdims=0)
    x = m("Gemm", x, m.weight("fc.weight", 6, 5), transB=1)
    return m.finish(x, [1, 3, 10, 10], None, x)


def mobilenet():
    m = Model(6, 10)
    x = m("Clip", m.conv("input", "stem", 3, 8, 3, strides=[2, 2], pads=[1, 1, 1, 1]),
          min=0.0, max=6.0)
    x = m("Clip", m.conv(x, "dw", 8, 8, 3, group=8, pads=[1, 1, 1, 1]), min=0.0, max=6.0)
    x = m.conv(x, "pw", 8, 6, 1)
    x = m("ReduceMean", x, axes=[2, 3], keepdims=1)
    x = m("Reshape", x, m.constant("shape", np.array([0, -1], np.int64)))
    x = m("Gemm", x, m.weight("fc.weight", 6, 4), m.weight("fc.bias", 4))
    scores = x
    return m.finish(m("LogSoftmax", x, axis=1), [1, 3, 11, 14], None, scores)


def squeezenet():
    """Convolutional class scores, squeezed; one channel; a softmax over [?, C, 1, 1]."""
    m = Model(7, 12)
    x = m("Relu", m.conv("input", "conv", 1, 6, 3))
    x = m("Relu", m.conv(x, "classifier", 6, 5, 1))
    x = m("GlobalAveragePool", x)
    scores = x
    x = m("Squeeze", m("Softmax", x, axis=1), axes=[2, 3])
    return m.finish(x, [1, 1, 8, 8], None, scores)


def image_of(shape):
    count = int(np.prod(shape))
    return (((np.arange(count, dtype=np.int64) * 37) % 101) / 101.0 - 0.5).astype(np.float32).reshape(shape)


def main():
    output = pathlib.Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    manifest = {}
    for make in (alexnet, resnet, keras, dynamic, inception, mobilenet, squeezenet):
        model, scores = make()
        onnx.save(model, output / f"{make.__name__}.onnx")
        dims = model.graph.input[0].type.tensor_type.shape.dim
        shape = [1] + [d.dim_value for d in dims][1:]
        if scores not in [o.name for o in model.graph.output]:
            model.graph.output.append(helper.make_tensor_value_info(scores, TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        values = session.run([scores], {"input": image_of(shape)})[0].ravel()
        manifest[make.__name__] = {"input": shape, "scores": [float(v) for v in values]}
    text = json.dumps({"made_with": f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}",
                       "image": "element i of [1, ...] is (i * 37 % 101) / 101 - 0.5",
                       "models": manifest}, indent=1)
    (output / "manifest.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
