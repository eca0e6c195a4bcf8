#!/usr/bin/env python3
"""NumPy and the safetensors library read what zood writes as what they read in the original.

usage: libraries_read_our_files.py CONVERT_WEIGHTS DATA

CONVERT_WEIGHTS reads each fixture of DATA that the libraries wrote and writes it anew. Exits with 77,
and says so, where neither library is installed; where one is missing, the other is asked.
"""
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("skipped: NumPy is not installed, so no library has read our files")
    sys.exit(77)
try:
    from safetensors.numpy import load_file
except ImportError:
    load_file = None
    print("safetensors is not installed: its files are not checked")


def load(path):
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npy":
        return {path.stem: np.load(path)}
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files if arrays[name].dtype.names is None}


def main(convert, data):
    """Every fixture whose tensors the target can hold."""
    conversions = [("numpy/plain.npy", "x.npy"), ("numpy/fortran.npy", "x.npy"),
                   ("numpy/big_endian.npy", "x.npy"), ("numpy/dtypes.npz", "x.npz"),
                   ("numpy/layers_deflated.npz", "x.npz")]
    if load_file:
        conversions += [("safetensors/dtypes.safetensors", "x.safetensors"),
                        ("safetensors/shapes.safetensors", "x.safetensors"),
                        ("safetensors/dtypes.safetensors", "x.npz"),
                        ("safetensors/layers.safetensors", "x.npz"),
                        ("numpy/layers.npz", "x.safetensors")]
    for source, target in conversions:
        with tempfile.TemporaryDirectory() as folder:
            written = pathlib.Path(folder) / target
            subprocess.run([convert, data / source, written], check=True)
            ours, theirs = load(written), load(data / source)
            if target == "x.npy":
                ours = dict(zip(theirs, ours.values()))
            assert ours.keys() == theirs.keys(), f"{source} to {target}: {sorted(ours)}"
            for name, array in theirs.items():
                assert ours[name].dtype == array.dtype.newbyteorder("<"), (source, target, name)
                assert np.array_equal(ours[name], array), (source, target, name)
                assert ours[name].shape == array.shape, (source, target, name)
        print(f"{source} as {target}: {len(theirs)} arrays agree")


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
