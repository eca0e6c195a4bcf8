#!/usr/bin/env python3
"""How far TensorFlow's own gradients are from the recorded ones.

usage: tensorflow_against_itself.py [GOLDEN.json...]      default: vgg_a and resnet_v1_50

The first step of each golden, taken again by the TensorFlow that is installed: with its oneDNN
kernels, with its Eigen kernels, and in double precision. For each two of the four it prints
how many gradients are not within the bound that training_golden_test asks for (1e-4 of a tensor's
root mean square, 2e-3 with batch norm) of each other, and the farthest recorded number. It shows
what that test's judge is for: where an activation lies within rounding of a kink, the last bit
decides, and no two programs, not even two sets of kernels of one, agree on each.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
GOLDENS = HERE.parent / "data" / "training"
KERNELS = {  # name: (TF_ENABLE_ONEDNN_OPTS, dtype)
    "oneDNN": ("1", "float32"),
    "Eigen": ("0", "float32"),
    "double": ("0", "float64"),
}
VGG_MEANS = (123.68, 116.78, 103.94)
LEAVES = {"biases": (0, 0.125), "beta": (0, 0.125), "gamma": (1, 0.125)}  # offset, scale


def splitmix64(np, text, count):
    """The first `count` outputs of splitmix64, seeded with FNV-1a-64 of `text`."""
    seed = 0xCBF29CE484222325
    for byte in text.encode():
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def fill(np, name, shape):
    """The values of a variable, as tests/support/oracle_fill.h makes them."""
    z = splitmix64(np, name, int(np.prod(shape)))
    u = ((z >> np.uint64(40)).astype(np.int64) - 2**23).astype(np.float32) * np.float32(2.0**-23)
    leaf = name.rsplit("/", 1)[-1]
    if leaf in LEAVES:
        offset, scale = LEAVES[leaf]
        return (np.float32(offset) + u * np.float32(scale)).reshape(shape)
    gain = 1.0
    if name in ("vgg_a/conv1/conv1_1/weights", "resnet_v1_50/conv1/weights"):
        gain = 1 / 64
    elif name.endswith("/bottleneck_v1/conv3/weights"):
        gain = 0.125
    scale = np.float32(np.sqrt(6.0 / np.prod(shape[:-1])) * gain)
    return (u * scale).reshape(shape)


def image(np, index, size):
    fine = splitmix64(np, f"image/{index}/fine", size * size * 3) >> np.uint64(56)
    fine = fine.astype(np.int64).reshape(size, size, 3)
    cell = max(1, size // 4)
    rows = np.arange(size) // cell
    places = (rows[:, None, None] * 64 + rows[None, :, None]) * 3 + np.arange(3)
    coarse = splitmix64(np, f"image/{index}/coarse", int(places.max()) + 1) >> np.uint64(56)
    coarse = coarse.astype(np.int64)[places]
    pixels = (3 * coarse + fine) >> 2 if index % 2 == 0 else (coarse + 3 * fine) >> 2
    return pixels.astype(np.float32) - np.array(VGG_MEANS, np.float32)


class Network:
    """Layers of TF-slim in plain TensorFlow, variables filled as they are made."""

    def __init__(self, tf, np, dtype):
        self.tf, self.np, self.dtype = tf, np, dtype
        self.variables, self.decayed = {}, []

    def variable(self, name, shape):
        value = fill(self.np, name, shape).astype(self.dtype)
        variable = self.tf.Variable(value)
        self.variables[name] = variable
        if name.endswith("weights"):
            self.decayed.append(variable)
        return variable

    def convolution(self, x, name, size, channels, stride=1, padding="SAME"):
        weights = self.variable(f"{name}/weights", [size, size, int(x.shape[-1]), channels])
        return self.tf.nn.conv2d(x, weights, stride, padding)

    def biased(self, x, name, *arguments, **named):
        x = self.convolution(x, name, *arguments, **named)
        return x + self.variable(f"{name}/biases", [int(x.shape[-1])])

    def normalized(self, x, name, size, channels, stride=1):
        """Padded as slim's conv2d_same pads: the same before every stride."""
        padding = "SAME"
        if stride > 1:
            before = (size - 1) // 2
            x = self.tf.pad(x, [[0, 0], [before, size - 1 - before], [before, size - 1 - before], [0, 0]])
            padding = "VALID"
        x = self.convolution(x, name, size, channels, stride, padding)
        gamma = self.variable(f"{name}/BatchNorm/gamma", [channels])
        beta = self.variable(f"{name}/BatchNorm/beta", [channels])
        if self.dtype == "float32":
            return self.tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-5)[0]
        mean, variance = self.tf.nn.moments(x, [0, 1, 2])
        return self.tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-5)

    def vgg_a(self, x, classes):
        relu = self.tf.nn.relu
        for block, (convolutions, channels) in enumerate([(1, 64), (1, 128), (2, 256), (2, 512), (2, 512)], 1):
            for i in range(1, convolutions + 1):
                x = relu(self.biased(x, f"vgg_a/conv{block}/conv{block}_{i}", 3, channels))
            x = self.tf.nn.max_pool2d(x, 2, 2, "VALID")
        x = relu(self.biased(x, "vgg_a/fc6", 7, 4096, padding="VALID"))
        x = relu(self.biased(x, "vgg_a/fc7", 1, 4096))
        return self.biased(x, "vgg_a/fc8", 1, classes)[:, 0, 0, :]

    def resnet_v1_50(self, x, classes):
        relu, scope = self.tf.nn.relu, "resnet_v1_50"
        x = relu(self.normalized(x, f"{scope}/conv1", 7, 64, 2))
        x = self.tf.nn.max_pool2d(x, 3, 2, "SAME")
        for block, units in enumerate([3, 4, 6, 3], 1):
            depth = 64 * 2 ** (block - 1)
            for i in range(1, units + 1):
                unit = f"{scope}/block{block}/unit_{i}/bottleneck_v1"
                stride = 2 if i == units and block < 4 else 1
                if i == 1:
                    shortcut = self.normalized(x, f"{unit}/shortcut", 1, 4 * depth)
                else:
                    shortcut = x[:, ::stride, ::stride, :]
                y = relu(self.normalized(x, f"{unit}/conv1", 1, depth))
                y = relu(self.normalized(y, f"{unit}/conv2", 3, depth, stride))
                x = relu(shortcut + self.normalized(y, f"{unit}/conv3", 1, 4 * depth))
        x = self.tf.reduce_mean(x, [1, 2], keepdims=True)
        return self.biased(x, f"{scope}/logits", 1, classes)[:, 0, 0, :]


def first_step(golden, dtype):
    """Losses, and each gradient as the golden records it: rms, mean, first elements."""
    import numpy as np
    import tensorflow as tf

    images = np.stack([image(np, i, golden["image_size"]) for i in golden["image_indices"]]).astype(dtype)
    network = Network(tf, np, dtype)
    with tf.GradientTape() as tape:
        logits = getattr(network, golden["model"])(images, golden["num_classes"])
        labels = tf.one_hot(golden["labels"], golden["num_classes"], dtype=dtype)
        entropy = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits))
        decay = golden["weight_decay"] * tf.add_n([tf.nn.l2_loss(v) for v in network.decayed])
        total = entropy + decay
    names = list(network.variables)
    found = {"total": float(total), "gradients": {}}
    for name, gradient in zip(names, tape.gradient(total, [network.variables[n] for n in names])):
        values = gradient.numpy().astype("float64")
        found["gradients"][name] = {
            "rms": float(np.sqrt(np.mean(values**2))),
            "mean": float(values.mean()),
            "first": values.ravel()[:4].tolist(),
        }
    return found


def distance(a, b):
    pairs = [(a["rms"], b["rms"]), (a["mean"], b["mean"]), *zip(a["first"], b["first"])]
    return max(abs(x - y) for x, y in pairs) / a["rms"]


def outside(recorded, found, bound):
    """How many gradients are outside the bound, of how many, and the farthest distance."""
    largest = max(gradient["rms"] for gradient in recorded.values())
    distances = [distance(gradient, found[name]) for name, gradient in recorded.items()
                 if gradient["rms"] > 1e-6 * largest]
    return sum(d > bound for d in distances), len(distances), max(distances)


def main(arguments):
    if arguments[:1] == ["--step"]:
        golden = json.loads(pathlib.Path(arguments[1]).read_text())
        print(json.dumps(first_step(golden, arguments[2])))
        return
    paths = [pathlib.Path(a) for a in arguments] or [GOLDENS / "vgg_a.json", GOLDENS / "resnet_v1_50.json"]
    print(f"{'network':14} {'numbers compared':18} {'loss off by':>12} {'outside the bound':>18} {'farthest':>9}")
    for path in paths:
        golden = json.loads(path.read_text())
        recorded = golden["gradients_of_step_0"]
        bound = 2e-3 if any(re.search("BatchNorm", name) for name in recorded) else 1e-4
        runs = {"recorded": {"gradients": recorded, "total": golden["steps"][0]["total"]}}
        for kernels, (onednn, dtype) in KERNELS.items():
            environment = dict(os.environ, TF_ENABLE_ONEDNN_OPTS=onednn, TF_CPP_MIN_LOG_LEVEL="3",
                               CUDA_VISIBLE_DEVICES="")
            printed = subprocess.run([sys.executable, __file__, "--step", str(path), dtype],
                                     env=environment, check=True, capture_output=True, text=True).stdout
            runs[kernels] = json.loads(printed.splitlines()[-1])
        for a, b in [("recorded", "oneDNN"), ("recorded", "Eigen"), ("recorded", "double"),
                     ("oneDNN", "Eigen"), ("oneDNN", "double"), ("Eigen", "double")]:
            wrong, of, farthest = outside(runs[a]["gradients"], runs[b]["gradients"], bound)
            loss = abs(runs[b]["total"] / runs[a]["total"] - 1)
            print(f"{golden['model']:14} {a + ', ' + b:18} {loss:12.1e} {wrong:10} of {of:4} {farthest:9.1e}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
