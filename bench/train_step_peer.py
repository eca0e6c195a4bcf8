#!/usr/bin/env python3
"""Times a whole training step of ResNet-50 in TensorFlow and in zood, in turns, in one run.

  pip install tensorflow-cpu
  bench/train_step_peer.py --ours 'build/release/bench/train_step resnet_v1_50 8 {threads}'

--ours prints the milliseconds of its fastest step as its last word. Both train every variable on one
batch that stays where it is: forward in training mode, softmax cross entropy, L2 terms, backward,
momentum. The two take turns, round by round, so that a machine whose speed drifts drifts for both;
the figure is each one's fastest step. Beside it stands how fast a large matrix product ran, which
says what the machine could do at that moment.
"""
import argparse
import os
import shlex
import subprocess
import time


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of TensorFlow in each round")
    return parser.parse_args()


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def make_training_step(tf, batch):
    """A compiled function that does one step of Keras's ResNet-50, the network that slim's resnet_v1_50 is."""
    network = tf.keras.applications.ResNet50(weights=None, classes=1000, classifier_activation=None)
    decayed = [v for v in network.trainable_variables if "kernel" in v.name]
    velocity = [tf.Variable(tf.zeros_like(v)) for v in network.trainable_variables]
    images = tf.random.normal([batch, 224, 224, 3])
    labels = tf.random.uniform([batch], maxval=1000, dtype=tf.int32)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            loss += 1e-4 * tf.add_n([tf.nn.l2_loss(v) for v in decayed])
        gradients = tape.gradient(loss, network.trainable_variables)
        for variable, momentum, gradient in zip(network.trainable_variables, velocity, gradients):
            momentum.assign(0.9 * momentum + gradient)
            variable.assign_sub(0.01 * momentum)
        return loss

    return lambda: step().numpy()


def matrix_product_gflops(tf):
    n = 3000
    a, b = tf.random.normal([n, n]), tf.random.normal([n, n])
    product = tf.function(lambda: tf.linalg.matmul(a, b))
    product()
    return 2e-9 * n**3 / min(seconds(lambda: product().numpy()) for _ in range(5))


def main():
    arguments = parse_arguments()
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    theirs = make_training_step(tf, arguments.batch)
    theirs()  # traces and allocates
    command = shlex.split(arguments.ours.format(threads=arguments.threads, batch=arguments.batch))
    best = {"TensorFlow": float("inf"), "zood": float("inf")}
    product = 0.0
    for _ in range(arguments.rounds):
        product = max(product, matrix_product_gflops(tf))
        best["TensorFlow"] = min([best["TensorFlow"]] + [1e3 * seconds(theirs) for _ in range(arguments.steps)])
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        best["zood"] = min(best["zood"], float(output.split()[-1]))
    print(f"a product of 3000 x 3000 matrices: {product:.0f} GFLOP/s on {arguments.threads} threads")
    for name, milliseconds in best.items():
        print(f"{name:<10}  {milliseconds:8.0f} ms a step  {1e3 * arguments.batch / milliseconds:6.2f} images/s")
    print(f"zood does {best['TensorFlow'] / best['zood']:.2f} times TensorFlow {tf.__version__}'s images a second")


if __name__ == "__main__":
    main()
