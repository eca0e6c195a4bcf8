#!/usr/bin/env python3
"""How far TensorFlow's own steps of training are from each other.

usage: tensorflow_against_itself.py [GOLDEN.json...]      default: vgg_a, resnet_v1_50, inception_v3_171

The first step of each golden, taken again by the TensorFlow that is installed: with its oneDNN
kernels, with its Eigen kernels, and in double precision. Two tables:

For each two of the four, how far the losses are from each other, how many gradients are not within
the bound that training_golden_test asks for (1e-4 of a tensor's root mean square, 2e-3 with batch
norm), and the farthest recorded number. It shows what that test's judge is for: where an activation
lies within rounding of a kink, the last bit decides, and no two programs, not even two sets of
kernels of one, agree on each.

Then what the judge itself asks, of TensorFlow: each float32 run beside double precision that decides
near ties as that run did. What remains is rounding alone: the farthest element of any gradient, in
the judge's units, and the tensor that it is in.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "data" / "training"
KERNELS = {  # name: (TF_ENABLE_ONEDNN_OPTS, dtype)
    "oneDNN": ("1", "float32"),
    "Eigen": ("0", "float32"),
    "double": ("0", "float64"),
}
AUXILIARY_WEIGHT = 0.4
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


def pixels(np, index, size):
    fine = splitmix64(np, f"image/{index}/fine", size * size * 3) >> np.uint64(56)
    fine = fine.astype(np.int64).reshape(size, size, 3)
    cell = max(1, size // 4)
    rows = np.arange(size) // cell
    places = (rows[:, None, None] * 64 + rows[None, :, None]) * 3 + np.arange(3)
    coarse = splitmix64(np, f"image/{index}/coarse", int(places.max()) + 1) >> np.uint64(56)
    coarse = coarse.astype(np.int64)[places]
    return (3 * coarse + fine) >> 2 if index % 2 == 0 else (coarse + 3 * fine) >> 2


def image(np, golden, index):
    values = pixels(np, index, golden["image_size"]).astype(np.float32)
    if golden["normalize"] == "inception":
        return (values * np.float32(1 / 255) - np.float32(0.5)) * np.float32(2)
    return values - np.array(VGG_MEANS, np.float32)


class Network:
    """Layers of TF-slim in plain TensorFlow, variables filled as they are made.

    Which side of its kink each activation falls on, and which element is each window's maximum, is
    noted in `decisions`, or taken from there in the same order where `decided` is given.
    """

    def __init__(self, tf, np, dtype, decided=None):
        self.tf, self.np, self.dtype = tf, np, dtype
        self.variables, self.decayed = {}, []
        self.decisions, self.decided = [], None if decided is None else iter(decided)

    def relu(self, x):
        if self.decided is not None:
            return x * self.tf.cast(next(self.decided), self.dtype)
        y = self.tf.nn.relu(x)
        self.decisions.append(y > 0)
        return y

    def max_pool(self, x, size, stride, padding):
        if self.decided is not None:
            return self.tf.gather(self.tf.reshape(x, [-1]), next(self.decided))
        y, places = self.tf.nn.max_pool_with_argmax(x, size, stride, padding,
                                                    include_batch_in_index=True)
        self.decisions.append(places)
        return self.tf.nn.max_pool2d(x, size, stride, padding)

    def variable(self, name, shape):
        value = fill(self.np, name, shape).astype(self.dtype)
        variable = self.tf.Variable(value)
        self.variables[name] = variable
        if name.endswith("weights"):
            self.decayed.append(variable)
        return variable

    def convolution(self, x, name, size, channels, stride=1, padding="SAME"):
        height, width = size if isinstance(size, tuple) else (size, size)
        weights = self.variable(f"{name}/weights", [height, width, int(x.shape[-1]), channels])
        return self.tf.nn.conv2d(x, weights, stride, padding)

    def biased(self, x, name, *arguments, **named):
        x = self.convolution(x, name, *arguments, **named)
        return x + self.variable(f"{name}/biases", [int(x.shape[-1])])

    def batch_norm(self, x, name, epsilon, scale):
        channels = [int(x.shape[-1])]
        gamma = self.variable(f"{name}/gamma", channels) if scale else self.tf.ones(channels, self.dtype)
        beta = self.variable(f"{name}/beta", channels)
        if self.dtype == "float32":
            return self.tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=epsilon)[0]
        mean, variance = self.tf.nn.moments(x, [0, 1, 2])
        return self.tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)

    def normalized(self, x, name, size, channels, stride=1):
        """Padded as slim's conv2d_same pads: the same before every stride."""
        padding = "SAME"
        if stride > 1:
            before = (size - 1) // 2
            x = self.tf.pad(x, [[0, 0], [before, size - 1 - before], [before, size - 1 - before], [0, 0]])
            padding = "VALID"
        x = self.convolution(x, name, size, channels, stride, padding)
        return self.batch_norm(x, f"{name}/BatchNorm", 1e-5, scale=True)

    def vgg_a(self, x, classes):
        relu = self.relu
        for block, (convolutions, channels) in enumerate([(1, 64), (1, 128), (2, 256), (2, 512), (2, 512)], 1):
            for i in range(1, convolutions + 1):
                x = relu(self.biased(x, f"vgg_a/conv{block}/conv{block}_{i}", 3, channels))
            x = self.max_pool(x, 2, 2, "VALID")
        x = relu(self.biased(x, "vgg_a/fc6", 7, 4096, padding="VALID"))
        x = relu(self.biased(x, "vgg_a/fc7", 1, 4096))
        return self.biased(x, "vgg_a/fc8", 1, classes)[:, 0, 0, :], None

    def resnet_v1_50(self, x, classes):
        relu, scope = self.relu, "resnet_v1_50"
        x = relu(self.normalized(x, f"{scope}/conv1", 7, 64, 2))
        x = self.max_pool(x, 3, 2, "SAME")
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
        return self.biased(x, f"{scope}/logits", 1, classes)[:, 0, 0, :], None

    def inception_layer(self, x, scope, layer):
        """One of ("max" or "avg", size, stride), a list of layers to concatenate, or a
        convolution (name, size, channels[, stride, padding]) with batch norm."""
        if isinstance(layer, list):
            return self.tf.concat([self.inception_layer(x, scope, each) for each in layer], 3)
        if layer[0] == "max":
            return self.max_pool(x, layer[1], layer[2], "VALID")
        if layer[0] == "avg":
            return self.tf.nn.avg_pool2d(x, layer[1], layer[2], "SAME")
        name, *arguments = layer
        x = self.convolution(x, f"{scope}/{name}", *arguments)
        return self.relu(self.batch_norm(x, f"{scope}/{name}/BatchNorm", 1e-3, scale=False))

    def inception_layers(self, x, scope, layers):
        for layer in layers:
            x = self.inception_layer(x, scope, layer)
        return x

    def mixed(self, x, scope, branches):
        return self.tf.concat([self.inception_layers(x, f"{scope}/Branch_{i}", branch)
                               for i, branch in enumerate(branches)], 3)

    def inception_v3(self, x, classes):
        scope = "InceptionV3"
        x = self.inception_layers(x, scope, [
            ("Conv2d_1a_3x3", 3, 32, 2, "VALID"), ("Conv2d_2a_3x3", 3, 32, 1, "VALID"),
            ("Conv2d_2b_3x3", 3, 64), ("max", 3, 2), ("Conv2d_3b_1x1", 1, 80, 1, "VALID"),
            ("Conv2d_4a_3x3", 3, 192, 1, "VALID"), ("max", 3, 2)])
        for name, pooled, reduce, conv in [("5b", 32, "Conv2d_0a_1x1", "Conv2d_0b_5x5"),
                                           ("5c", 64, "Conv2d_0b_1x1", "Conv_1_0c_5x5"),
                                           ("5d", 64, "Conv2d_0a_1x1", "Conv2d_0b_5x5")]:
            x = self.mixed(x, f"{scope}/Mixed_{name}", [
                [("Conv2d_0a_1x1", 1, 64)],
                [(reduce, 1, 48), (conv, 5, 64)],
                [("Conv2d_0a_1x1", 1, 64), ("Conv2d_0b_3x3", 3, 96), ("Conv2d_0c_3x3", 3, 96)],
                [("avg", 3, 1), ("Conv2d_0b_1x1", 1, pooled)]])
        x = self.mixed(x, f"{scope}/Mixed_6a", [
            [("Conv2d_1a_1x1", 3, 384, 2, "VALID")],
            [("Conv2d_0a_1x1", 1, 64), ("Conv2d_0b_3x3", 3, 96), ("Conv2d_1a_1x1", 3, 96, 2, "VALID")],
            [("max", 3, 2)]])
        for name, width in [("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)]:
            x = self.mixed(x, f"{scope}/Mixed_{name}", [
                [("Conv2d_0a_1x1", 1, 192)],
                [("Conv2d_0a_1x1", 1, width), ("Conv2d_0b_1x7", (1, 7), width),
                 ("Conv2d_0c_7x1", (7, 1), 192)],
                [("Conv2d_0a_1x1", 1, width), ("Conv2d_0b_7x1", (7, 1), width),
                 ("Conv2d_0c_1x7", (1, 7), width), ("Conv2d_0d_7x1", (7, 1), width),
                 ("Conv2d_0e_1x7", (1, 7), 192)],
                [("avg", 3, 1), ("Conv2d_0b_1x1", 1, 192)]])
        auxiliary = self.tf.nn.avg_pool2d(x, 5, 3, "VALID")
        size = [min(int(extent), 5) for extent in (auxiliary.shape[1] , auxiliary.shape[2])]
        aux_scope = f"{scope}/AuxLogits"
        x = self.mixed(x, f"{scope}/Mixed_7a", [
            [("Conv2d_0a_1x1", 1, 192), ("Conv2d_1a_3x3", 3, 320, 2, "VALID")],
            [("Conv2d_0a_1x1", 1, 192), ("Conv2d_0b_1x7", (1, 7), 192),
             ("Conv2d_0c_7x1", (7, 1), 192), ("Conv2d_1a_3x3", 3, 192, 2, "VALID")],
            [("max", 3, 2)]])
        for name, name_3x1 in [("7b", "Conv2d_0b_3x1"), ("7c", "Conv2d_0c_3x1")]:
            x = self.mixed(x, f"{scope}/Mixed_{name}", [
                [("Conv2d_0a_1x1", 1, 320)],
                [("Conv2d_0a_1x1", 1, 384), [("Conv2d_0b_1x3", (1, 3), 384), (name_3x1, (3, 1), 384)]],
                [("Conv2d_0a_1x1", 1, 448), ("Conv2d_0b_3x3", 3, 384),
                 [("Conv2d_0c_1x3", (1, 3), 384), ("Conv2d_0d_3x1", (3, 1), 384)]],
                [("avg", 3, 1), ("Conv2d_0b_1x1", 1, 192)]])
        auxiliary = self.inception_layers(auxiliary, aux_scope, [
            ("Conv2d_1b_1x1", 1, 128),
            (f"Conv2d_2a_{size[0]}x{size[1]}", tuple(size), 768, 1, "VALID")])
        auxiliary = self.biased(auxiliary, f"{aux_scope}/Conv2d_2b_1x1", 1, classes)
        x = self.tf.reduce_mean(x, [1, 2], keepdims=True)
        x = self.biased(x, f"{scope}/Logits/Conv2d_1c_1x1", 1, classes)
        return x[:, 0, 0, :], auxiliary[:, 0, 0, :]


def first_step(golden, dtype, decided=None):
    """Losses, whole gradients by name, and the decisions that were taken."""
    import numpy as np
    import tensorflow as tf

    images = np.stack([image(np, golden, i) for i in golden["image_indices"]]).astype(dtype)
    network = Network(tf, np, dtype, decided)
    smoothing = golden.get("label_smoothing", 0)
    labels = np.eye(golden["num_classes"])[golden["labels"]] * (1 - smoothing)
    labels = tf.constant((labels + smoothing / golden["num_classes"]).astype(dtype))

    def entropy(logits):
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits))

    with tf.GradientTape() as tape:
        logits, auxiliary = getattr(network, golden["model"])(images, golden["num_classes"])
        losses = {"cross_entropy": entropy(logits)}
        if auxiliary is not None:
            losses["auxiliary"] = AUXILIARY_WEIGHT * entropy(auxiliary)
        losses["regularization"] = (
            golden["weight_decay"] * tf.add_n([tf.nn.l2_loss(v) for v in network.decayed]))
        total = tf.add_n(list(losses.values()))
    names = list(network.variables)
    gradients = tape.gradient(total, [network.variables[n] for n in names])
    return (dict({k: float(v) for k, v in losses.items()}, total=float(total)),
            {n: g.numpy().astype("float64") for n, g in zip(names, gradients)},
            [d.numpy() for d in network.decisions])


def take_step(path, dtype, out, decisions):
    """A process of its own, because the kernels are chosen when TensorFlow is loaded: leaves losses
    and gradients in `out`.npz, and the decisions in `out`.decisions.npz or takes those given."""
    import numpy as np

    decided = None
    if decisions:
        with np.load(decisions) as held:
            decided = [held[f"arr_{i}"] for i in range(len(held.files))]
    losses, gradients, taken = first_step(json.loads(pathlib.Path(path).read_text()), dtype, decided)
    np.savez(out, **{"losses": json.dumps(losses)}, **gradients)
    if not decisions:
        np.savez(out.removesuffix(".npz") + ".decisions.npz", *taken)


def summary(gradients):
    """Each gradient as a golden records it."""
    return {name: {"rms": float((values**2).mean() ** 0.5), "mean": float(values.mean()),
                   "first": values.ravel()[:4].tolist()} for name, values in gradients.items()}


def distance(a, b):
    pairs = [(a["rms"], b["rms"]), (a["mean"], b["mean"]), *zip(a["first"], b["first"])]
    return max(abs(x - y) for x, y in pairs) / a["rms"]


def outside(recorded, found, bound):
    """How many gradients are outside the bound, of how many, and the farthest distance."""
    largest = max(gradient["rms"] for gradient in recorded.values())
    distances = [distance(gradient, found[name]) for name, gradient in recorded.items()
                 if gradient["rms"] > 1e-6 * largest]
    return sum(d > bound for d in distances), len(distances), max(distances)


def farthest_element(found, exact):
    """(distance, name) of the farthest element of any gradient, measured as the judge does: by the
    tensor's rms, or a hundredth of that of a neighbor in its scope."""
    rms = {name: float((values**2).mean() ** 0.5) for name, values in exact.items()}
    largest = max(rms.values())

    def unit(name):
        scope = name.rpartition("/")[0] + "/"
        return max([rms[name]] + [1e-2 * rms[other] for other in rms if other.startswith(scope)])

    return max((float(abs(found[name] - exact[name]).max()) / unit(name), name)
               for name in exact if rms[name] > 1e-6 * largest)


class Runs:
    """Steps of one golden, each taken once, in `folder`."""

    def __init__(self, path, folder):
        self.path, self.folder = path, pathlib.Path(folder)

    def take(self, kernels, decided_by=None):
        """(losses, gradients)."""
        import numpy as np

        onednn, dtype = KERNELS[kernels]
        out = self.folder / f"{kernels}{'-as-' + decided_by if decided_by else ''}.npz"
        decisions = str(self.folder / f"{decided_by}.decisions.npz") if decided_by else ""
        environment = dict(os.environ, TF_ENABLE_ONEDNN_OPTS=onednn, TF_CPP_MIN_LOG_LEVEL="3",
                           CUDA_VISIBLE_DEVICES="")
        if not out.exists():
            subprocess.run([sys.executable, __file__, "--step", str(self.path), dtype, str(out), decisions],
                           env=environment, check=True, capture_output=True)
        with np.load(out) as held:
            gradients = {name: held[name] for name in held.files if name != "losses"}
            return json.loads(str(held["losses"])), gradients


def loss_distance(a, b):
    """(relative distance, which) of the losses that are farthest from each other."""
    return max((abs(b[name] / a[name] - 1), name) for name in a if name in b)


def compare(path, folder):
    golden = json.loads(path.read_text())
    recorded = golden["gradients_of_step_0"]
    bound = 2e-3 if any(re.search("BatchNorm", name) for name in recorded) else 1e-4
    runs = Runs(path, folder)
    steps = {"recorded": (golden["steps"][0], recorded)}
    for kernels in KERNELS:
        losses, gradients = runs.take(kernels)
        steps[kernels] = (losses, summary(gradients))
    print(f"{path.stem}\n  {'numbers compared':18} {'losses off by':>27} {'outside the bound':>18} {'farthest':>9}")
    for a, b in [("recorded", "oneDNN"), ("recorded", "Eigen"), ("recorded", "double"),
                 ("oneDNN", "Eigen"), ("oneDNN", "double"), ("Eigen", "double")]:
        wrong, of, farthest = outside(steps[a][1], steps[b][1], bound)
        loss, which = loss_distance(steps[a][0], steps[b][0])
        print(f"  {a + ', ' + b:18} {loss:12.1e} {which:>14} {wrong:11} of {of:3} {farthest:9.1e}", flush=True)
    print("  beside double precision with the same decisions (losses; farthest element of a gradient):")
    for kernels in ("oneDNN", "Eigen"):
        losses, gradients = runs.take(kernels)
        exact_losses, exact = runs.take("double", kernels)
        loss, which = loss_distance(exact_losses, losses)
        farthest, name = farthest_element(gradients, exact)
        print(f"  {kernels:18} {loss:12.1e} {which:>14} {farthest:9.1e} of the rms, {name}", flush=True)


def main(arguments):
    if arguments[:1] == ["--step"]:
        take_step(*arguments[1:5])
        return
    names = ["vgg_a.json", "resnet_v1_50.json", "inception_v3_171.json"]
    for path in [pathlib.Path(a) for a in arguments] or [GOLDENS / name for name in names]:
        with tempfile.TemporaryDirectory() as folder:
            compare(path, folder)


if __name__ == "__main__":
    main(sys.argv[1:])
