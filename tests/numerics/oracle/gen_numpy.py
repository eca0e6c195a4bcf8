#!/usr/bin/env python3
"""Writes tests/data/numpy: small files of numpy.save and numpy.savez, and a manifest of what they
hold as NumPy itself reads them. Needs NumPy (made with 2.4.6).

  tests/numerics/oracle/gen_numpy.py tests/data/numpy
"""
import json
import sys
import zlib
from pathlib import Path

import numpy as np

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
          "float32", "float64", "complex64", "complex128"]
STRUCTURED = np.zeros(2, [("weights", "<f4"), ("biases", "<f8", (2,))])


def values(shape, seed):
    return np.random.RandomState(seed).standard_normal(shape)


def of_type(name, seed):
    array = values((2, 3), seed) * 50
    if name == "bool":
        return array > 0
    if name.startswith("complex"):
        array = array + 1j * values((2, 3), seed + 100)
    return (abs(array) if name.startswith("u") else array).astype(name)


def describe(array):
    """Row-major and little-endian, as a tensor is; None for what no tensor is."""
    if array.dtype.hasobject or array.dtype.name not in DTYPES:
        return None
    plain = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    return {"dtype": array.dtype.name, "shape": list(array.shape), "crc32": zlib.crc32(plain.tobytes())}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    cube = values((3, 4, 5), 1).astype(np.float32)
    singles = {"plain": cube, "fortran": np.asfortranarray(cube), "scalar": np.array(7, np.int64),
               "empty": np.zeros((0, 3), np.float32), "vector": values(6, 2),
               "big_endian": cube.astype(">f4"),
               "big_endian_fortran": np.asfortranarray(cube.astype(">f8")),
               "big_endian_complex": of_type("complex64", 3).astype(">c8"),
               "structured": STRUCTURED, "texts": np.array(["a", "bc"]),
               "times": np.array(["2017-03-01"], "datetime64[D]"),
               "objects": np.array([None, 1], object)}
    manifest = {}
    for name, array in singles.items():
        np.save(folder / f"{name}.npy", array)
        manifest[f"{name}.npy"] = {name: describe(array)}
    for version in (1, 2, 3):
        name = f"version_{version}"
        with open(folder / f"{name}.npy", "wb") as file:
            np.lib.format.write_array(file, cube, version=(version, 0))
        manifest[f"{name}.npy"] = {name: describe(cube)}
    layers = {"conv1/weights": values((5, 5, 3, 8), 4).astype(np.float32), "conv1/biases": cube[0, 0],
              "naïve": cube, "f": np.asfortranarray(cube), "structured": STRUCTURED,
              "arr_0": np.zeros((4, 4), np.float32)}
    dtypes = {name: of_type(name, i) for i, name in enumerate(DTYPES)}
    for name, arrays in [("layers", layers), ("dtypes", dtypes)]:
        np.savez(folder / f"{name}.npz", **arrays)
        np.savez_compressed(folder / f"{name}_deflated.npz", **arrays)
        for file in (f"{name}.npz", f"{name}_deflated.npz"):
            manifest[file] = {key: describe(array) for key, array in arrays.items()}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
