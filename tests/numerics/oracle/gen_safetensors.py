#!/usr/bin/env python3
"""Writes tests/data/safetensors: small files of the safetensors library, and a manifest of what they
hold as that library itself reads them. Needs safetensors and NumPy (made with safetensors 0.8.0 and
NumPy 2.4.6).

  tests/numerics/oracle/gen_safetensors.py tests/data/safetensors
"""
import json
import sys
import zlib
from pathlib import Path

import numpy as np
from safetensors import TensorSpec, serialize_file
from safetensors.numpy import load_file, save_file

DTYPES = ["bool", "uint8", "int8", "int16", "uint16", "float16", "int32", "uint32", "float32",
          "float64", "int64", "uint64", "complex64"]
LENET = {"conv1/weights": (5, 5, 1, 32), "conv1/biases": (32,), "conv2/weights": (3, 3, 32, 8),
         "conv2/biases": (8,)}


def values(shape, seed):
    return np.random.RandomState(seed).standard_normal(shape)


def dtypes():
    tensors = {}
    for i, name in enumerate(DTYPES):
        array = values((2, 3), i) * 50
        if name == "complex64":
            array = array + 1j * values((2, 3), i + 100)
        tensors[name] = (abs(array) if name.startswith("u") else array).astype(name)
    tensors["bool"] = values((2, 3), 77) > 0
    return tensors


def shapes():
    return {"scalar": np.array(7, np.float32), "empty": np.zeros((0, 3), np.float32),
            "one": values((1, 1, 1), 1).astype(np.float32),
            "naïve/ \"quoted\"\\\n": values((3,), 2), "a.b": values((2,), 3).astype(np.float16)}


def small_floats(path):
    """Types that NumPy has not, written through the library's own serializer."""
    raw = bytes(range(8))
    buffer = np.frombuffer(raw, np.uint8)
    types = {"half_as_brain": ("bfloat16", [4]), "e4m3": ("float8_e4m3fn", [2, 4]),
             "e5m2": ("float8_e5m2", [8]), "plain": ("float32", [2])}
    serialize_file({name: TensorSpec(dtype=dtype, shape=shape, data_ptr=buffer.ctypes.data,
                                     data_len=len(raw))
                    for name, (dtype, shape) in types.items()}, str(path))
    return {"half_as_brain": {"dtype": "bfloat16", "shape": [4], "crc32": zlib.crc32(raw)},
            "plain": {"dtype": "float32", "shape": [2], "crc32": zlib.crc32(raw)},
            "e4m3": None, "e5m2": None}


def describe(path):
    return {name: {"dtype": array.dtype.name, "shape": list(array.shape),
                   "crc32": zlib.crc32(array.tobytes())}
            for name, array in sorted(load_file(path).items())}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {}
    for name, tensors, metadata in [
            ("dtypes", dtypes(), None), ("shapes", shapes(), {"format": "np"}),
            ("none", {}, None),
            ("layers", {name: values(shape, i).astype(np.float32)
                        for i, (name, shape) in enumerate(sorted(LENET.items()))},
             {"format": "pt"})]:
        path = folder / f"{name}.safetensors"
        save_file(tensors, path, metadata)
        manifest[path.name] = {"metadata": metadata or {}, "tensors": describe(path)}
    path = folder / "small_floats.safetensors"
    manifest[path.name] = {"metadata": {}, "tensors": small_floats(path)}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
