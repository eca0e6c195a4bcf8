#!/usr/bin/env python3
"""Trains a small network of the zoo from scratch on Fashion-MNIST, through the API.

    bench/fashion_mnist.py BUILD-DIRECTORY [FASHION-MNIST-DIRECTORY] [EPOCHS]

The images are those of Debian's package dataset-fashion-mnist: 60,000 to learn from, 10,000 to
test on. Prints the accuracy after each epoch and at the end; the aim is 92 %.
"""
import json
import pathlib
import subprocess
import sys
import time

from daemon import daemon

AIM = 0.92


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    build = pathlib.Path(sys.argv[1])
    data = sys.argv[2] if len(sys.argv) > 2 else "/usr/share/datasets/fashion-mnist"
    epochs = float(sys.argv[3]) if len(sys.argv) > 3 else 12
    spec = {
        "network": {"architecture": "lenet", "height": 28, "width": 28, "channels": 1},
        "model": "fashion",
        "optimizer": {"adam": {}},
        "learningRate": {"cosine": {"learningRate": 0.001}},
        "weightDecay": 0.0001,
        "batchSize": 64,
        "length": {"epochs": epochs},
        "evaluation": {"split": "TEST"},
        "promotion": {"gates": [{"minimumAccuracy": {"accuracy": AIM}}]},
        "seed": 1,
    }
    started = time.monotonic()
    with daemon(build) as address:
        done = subprocess.run([build / "bench/rpc_job", address, "fashion-mnist", data, "0"],
                              input=json.dumps(spec), text=True, stdout=subprocess.PIPE, check=True)
    job = json.loads(done.stdout)
    top1 = job["evaluation"]["top1"]
    print(f"lenet from scratch, {epochs:g} epochs: {100 * top1:.2f} % of "
          f"{job['evaluation']['images']} test images, {time.monotonic() - started:.0f} s")
    return 0 if top1 >= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
