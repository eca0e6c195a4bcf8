#!/usr/bin/env python3
"""Writes tests/data/caffe: small weight files in each form that Caffe has used, byte by byte from
the wire format, and a manifest of what they hold. Needs only Python.

  tests/numerics/oracle/gen_caffe.py tests/data/caffe
"""
import json
import struct
import sys
import zlib
from pathlib import Path


def varint(value):
    value &= 2**64 - 1
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def chunk(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def numbers_of(count, seed):
    """Values that binary32 holds exactly."""
    state = seed * 2654435761 + 1
    values = []
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        values.append((state - 2**30) / 2**24)
    return [struct.unpack("<f", struct.pack("<f", v))[0] for v in values]


def packed_floats(values, pieces=1):
    size = -(-len(values) // pieces)
    return b"".join(chunk(5, struct.pack(f"<{len(part)}f", *part))
                    for part in (values[i:i + size] for i in range(0, len(values), size)))


def unpacked_floats(values):
    return b"".join(varint(5 << 3 | 5) + struct.pack("<f", v) for v in values)


def packed_doubles(values):
    return chunk(8, struct.pack(f"<{len(values)}d", *values))


def new_shape(dims):
    return chunk(7, chunk(1, b"".join(map(varint, dims))))


def unpacked_shape(dims):
    return chunk(7, b"".join(number(1, d) for d in dims))


def legacy_shape(dims):
    dims = [1] * (4 - len(dims)) + dims
    return b"".join(number(i + 1, d) for i, d in enumerate(dims))


class Model:
    """A network whose weights are remembered for the manifest."""

    def __init__(self, v1=False, shape=None, data=packed_floats, kind="float32"):
        self.v1 = v1
        self.shape = shape or (legacy_shape if v1 else new_shape)
        self.data = data
        self.kind = kind
        self.bytes = chunk(1, "fixture")
        self.variables = {}

    def layer(self, name, kind, bottom, top, parameter=b"", blobs=(), extra=b""):
        body = b""
        for i, dims in enumerate(blobs):
            count = 1
            for d in dims:
                count *= d
            values = numbers_of(count, zlib.crc32(f"{name}/{i}".encode()) % 1000)
            blob = self.shape(dims) + self.data(values)
            body += chunk(6 if self.v1 else 7, blob)
            if self.shape is legacy_shape:
                dims = [1] * (4 - len(dims)) + dims
            code = "d" if self.kind == "float64" else "f"
            raw = struct.pack(f"<{count}{code}", *values)
            self.variables[f"{name}/{i}"] = {"dtype": self.kind, "shape": dims,
                                             "crc32": zlib.crc32(raw)}
        if self.v1:  # bottom 2, top 3, name 4, type 5 (an enum)
            body += chunk(2, bottom) + chunk(3, top) + chunk(4, name) + number(5, kind)
            self.bytes += chunk(2, body + parameter + extra)
        else:  # name 1, type 2, bottom 3, top 4
            head = chunk(1, name) + chunk(2, kind) + chunk(3, bottom) + chunk(4, top)
            self.bytes += chunk(100, head + body + parameter + extra)
        return self


def small_net(**options):
    """Data that only training has, convolution, batch norm, scale, ReLU, pooling, classifier."""
    v1 = options.get("v1", False)
    model = Model(**options)
    train_only = chunk(32 if v1 else 8, number(1, 0))
    convolution = number(1, 4) + number(4, 3) + number(3, 1)  # num_output, kernel_size, pad
    pooling = number(1, 1) + number(2, 2) + number(3, 2)      # AVE, kernel_size, stride
    model.layer("images", 5 if v1 else "Data", "", "data", extra=train_only)
    model.layer("conv1", 4 if v1 else "Convolution", "data", "conv1",
                chunk(10 if v1 else 106, convolution), [[4, 3, 3, 3], [4]])
    if not v1:
        model.layer("bn1", "BatchNorm", "conv1", "conv1", b"", [[4], [4], [1]])
        model.layer("scale1", "Scale", "conv1", "conv1", chunk(142, number(4, 1)), [[4], [4]])
    model.layer("relu1", 18 if v1 else "ReLU", "conv1", "conv1")
    model.layer("pool/1", 17 if v1 else "Pooling", "conv1", "pool1",
                chunk(19 if v1 else 121, pooling))
    model.layer("fc", 14 if v1 else "InnerProduct", "pool1", "fc",
                chunk(17 if v1 else 117, number(1, 2)), [[2, 16], [2]])
    model.layer("prob", 20 if v1 else "Softmax", "fc", "prob")
    return model


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    models = {
        "new.caffemodel": small_net(),
        "v1.caffemodel": small_net(v1=True),
        "unpacked.caffemodel": small_net(v1=True, data=unpacked_floats),
        "pieces.caffemodel": small_net(data=lambda v: packed_floats(v, 3), shape=unpacked_shape),
        "double.caffemodel": small_net(data=packed_doubles, kind="float64"),
        "legacy_shape.caffemodel": small_net(shape=legacy_shape),
    }
    manifest = {}
    for name, model in models.items():
        (folder / name).write_bytes(model.bytes)
        manifest[name] = model.variables
    mean = numbers_of(3 * 2 * 4, 17)
    (folder / "mean.binaryproto").write_bytes(legacy_shape([1, 3, 2, 4]) + packed_floats(mean))
    (folder / "mean_unpacked.binaryproto").write_bytes(
        legacy_shape([3, 2, 4]) + unpacked_floats(mean))
    manifest["mean.binaryproto"] = {"dtype": "float32", "shape": [3, 2, 4],
                                    "crc32": zlib.crc32(struct.pack("<24f", *mean))}
    v0 = chunk(1, chunk(1, "conv1") + chunk(2, "conv"))
    (folder / "v0.caffemodel").write_bytes(chunk(1, "old") + chunk(2, v0))
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
