#!/usr/bin/env python3
"""TensorFlow restores what zood exports in mid-training and continues with the same losses.

usage: tensorflow_reads_our_checkpoints.py WRITE_CHECKPOINTS

For each optimizer WRITE_CHECKPOINTS trains LeNet for some steps, exports the whole state, makes two
steps more and exports again. Here a TensorFlow graph of the same network, with the same optimizer and
moving averages, restores the first export with its own Saver and must

  - find exactly the variables that it has itself, by name, shape and type,
  - write the very same bytes when it saves them,
  - get the same losses on the same batches, from the second one on through its own update,
  - end with the same variables, slots, averages and step.

Where TensorFlow is not installed it says so and checks only that the files were written.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

LOSS_TOLERANCE = 1e-5     # relative
CHANGE_TOLERANCE = 5e-3   # of a variable's change, root mean square
ROUNDINGS = 4 * 2.0**-24  # of a variable's size


def optimizer_of(tf, name, rate):
    train = tf.compat.v1.train
    return {
        "sgd": lambda: train.GradientDescentOptimizer(rate),
        "momentum": lambda: train.MomentumOptimizer(rate, 0.9),
        "adagrad": lambda: train.AdagradOptimizer(rate),
        "adadelta": lambda: train.AdadeltaOptimizer(rate, rho=0.95, epsilon=1e-8),
        "adam": lambda: train.AdamOptimizer(rate),
        "ftrl": lambda: train.FtrlOptimizer(
            rate, l1_regularization_strength=0.0001, l2_regularization_strength=0.0001),
        "rms_prop": lambda: train.RMSPropOptimizer(rate, momentum=0.9),
        "rms_prop_centered": lambda: train.RMSPropOptimizer(rate, momentum=0.9, centered=True),
    }[name]()


def layer(tf, x, name, shape, convolution, activation=True):
    v1 = tf.compat.v1
    with v1.variable_scope(name):
        weights = v1.get_variable("weights", shape)
        biases = v1.get_variable("biases", shape[-1:])
    x = tf.nn.conv2d(x, weights, 1, "SAME") if convolution else tf.matmul(x, weights)
    x = tf.nn.bias_add(x, biases)
    return tf.nn.relu(x) if activation else x


def lenet(tf, images):
    side = images.shape[1] // 4
    with tf.compat.v1.variable_scope("LeNet"):
        x = layer(tf, images, "conv1", [5, 5, 1, 32], True)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        x = layer(tf, x, "conv2", [5, 5, 32, 64], True)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        x = tf.reshape(x, [-1, side * side * 64])
        x = layer(tf, x, "fc3", [side * side * 64, 1024], False)
        return layer(tf, x, "fc4", [1024, 10], False, activation=False)


def rms(numpy, x):
    return float(numpy.sqrt(numpy.mean(numpy.square(numpy.asarray(x, "float64")))))


def check(tf, numpy, job, scratch):
    """Problems found, as lines of text."""
    v1 = tf.compat.v1
    problems = []
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None] + job["shape"])
        labels = v1.placeholder(tf.int32, [None])
        logits = lenet(tf, images)
        loss = v1.losses.sparse_softmax_cross_entropy(labels, logits)
        step = v1.train.get_or_create_global_step()
        variables = v1.trainable_variables()
        update = optimizer_of(tf, job["name"], job["learning_rate"]).minimize(loss, step)
        with tf.control_dependencies([update]):
            averages = v1.train.ExponentialMovingAverage(job["average_decay"], num_updates=step)
            train = averages.apply(variables)

        theirs = {v.op.name: v for v in v1.global_variables()}
        ours = dict(tf.train.list_variables(job["before"]))
        if set(theirs) != set(ours):
            return [f"names differ: {sorted(set(theirs) ^ set(ours))}"]
        saver = v1.train.Saver(v1.global_variables())
        saver.restore(session, job["before"])
        saver.save(session, scratch + "/again", write_meta_graph=False, write_state=False)
        for suffix in (".index", ".data-00000-of-00001"):
            if pathlib.Path(scratch + "/again" + suffix).read_bytes() != pathlib.Path(
                    job["before"] + suffix).read_bytes():
                problems.append(f"TensorFlow saves other bytes: {suffix}")

        before = {name: session.run(variable) for name, variable in theirs.items()}
        for number, expected in enumerate(job["steps"]):
            batch = numpy.fromfile(expected["images"], "float32").reshape([-1] + job["shape"])
            found, _ = session.run([loss, train], {images: batch, labels: expected["labels"]})
            if abs(found - expected["loss"]) > LOSS_TOLERANCE * abs(found):
                problems.append(f"step {number}: loss {expected['loss']}, TensorFlow's {found}")
        after = tf.train.load_checkpoint(job["after"])
        for name, variable in theirs.items():
            value, ended = session.run(variable), after.get_tensor(name)
            if value.dtype != ended.dtype or value.shape != ended.shape:
                problems.append(f"{name}: {ended.dtype} {ended.shape}")
                continue
            difference = rms(numpy, numpy.asarray(value, "float64") - ended)
            change = rms(numpy, numpy.asarray(value, "float64") - before[name])
            if difference > CHANGE_TOLERANCE * change + ROUNDINGS * rms(numpy, value):
                problems.append(f"{name}: differs by {difference:.3g}, changed by {change:.3g}")
    return problems


def main():
    with tempfile.TemporaryDirectory() as scratch:
        written = subprocess.run([sys.argv[1], scratch], check=True, capture_output=True, text=True)
        jobs = json.loads(written.stdout)
        missing = [job["name"] for job in jobs for which in ("before", "after")
                   if not os.path.exists(job[which] + ".index")]
        if missing or not jobs:
            print(f"not written: {missing or 'anything'}")
            return 1
        try:
            import numpy
            import tensorflow as tf
        except ImportError as error:
            print(f"not run: {error}; {len(jobs)} checkpoints were written, and "
                  "checkpoint_bytes_test holds their bytes")
            return 0
        tf.get_logger().setLevel("ERROR")
        tf.compat.v1.disable_eager_execution()
        tf.compat.v1.enable_resource_variables()  # reads follow control dependencies
        failed = 0
        for job in jobs:
            problems = check(tf, numpy, job, scratch)
            print(f"{job['name']}: TensorFlow {tf.__version__} "
                  f"{'disagrees' if problems else 'agrees'}")
            for problem in problems:
                print("  " + problem)
            failed += bool(problems)
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
