#!/usr/bin/env python3
"""Writes tests/data/pytorch: small files of torch.save in every form, and a manifest of what they
hold as PyTorch itself understands it. Needs PyTorch (made with Debian's python3-torch 1.13).

  tests/numerics/oracle/gen_pytorch.py tests/data/pytorch
"""
import io
import json
import pickle
import struct
import sys
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import torch

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8,
          torch.int16, torch.int32, torch.int64, torch.bool, torch.complex64, torch.complex128]


def values(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator)


def dtypes():
    state = OrderedDict()
    for i, dtype in enumerate(DTYPES):
        if dtype.is_complex:
            tensor = torch.complex(values((2, 3), i), values((2, 3), i + 100)).to(dtype)
        else:
            tensor = (values((2, 3), i) * 50).abs().to(dtype)
        state[str(dtype).removeprefix("torch.")] = tensor
    return state


def views():
    """Tensors that share storages, start inside of them, and are not in row-major order."""
    base = values((4, 6, 5), 1)
    return OrderedDict(
        whole=base,
        slice=base[1:3],
        column=base[:, 2],
        step=base[::2, 1::3],
        transposed=base.permute(2, 0, 1),
        channels_last=values((2, 3, 4, 5), 2).contiguous(memory_format=torch.channels_last),
        same_again=base,
        scalar=torch.tensor(7, dtype=torch.int64),
        one_of_many=base[3, 5, 4],
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(values((3,), 3)),
    )


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 2)


def wrapped():
    """What a training script keeps: the network's tensors are one entry among others."""
    net = torch.nn.DataParallel(Net())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {"epoch": 90, "arch": "resnet20", "state_dict": net.state_dict(),
            "best_prec1": torch.tensor(91.7), "lr": 0.001, "optimizer": optimizer.state_dict(),
            "history": [0.5, None, True, -1, 2**40, -(2**70)]}


def nested():
    return {"encoder": {"weight": values((2, 2), 7), 0: {"bias": values((2,), 8)}},
            "head": values((1,), 9), "note": "ignored", "sizes": torch.Size([1, 2])}


def python2_stream():
    """As PyTorch 0.3 wrote it from Python 2: byte strings, an OrderedDict made of pairs, and a
    storage that is a view of another."""
    def short(text):
        return b"U" + bytes([len(text)]) + text.encode()

    def storage(key, view):
        return (b"(" + short("storage") + b"ctorch\nFloatStorage\n" + short(key) + short("cpu") +
                b"K\x06" + view + b"tQ")

    def tensor(storage_, offset, size, stride):
        return (b"ctorch._utils\n_rebuild_tensor\n(" + storage_ + b"K" + bytes([offset]) + b"K" +
                bytes([size]) + b"\x85K" + bytes([stride]) + b"\x85tR")

    view = b"(" + short("88") + b"K\x02K\x04t"
    pairs = (b"](](" + short("a.weight") + tensor(storage("77", b"N"), 1, 4, 1) + b"e](" +
             short("a.bias") + tensor(storage("77", view), 1, 2, 2) + b"ee")
    state = b"\x80\x02ccollections\nOrderedDict\n" + pairs + b"\x85R."
    data = struct.pack("<6f", *range(10, 16))
    file = b"".join(pickle.dumps(x, 2) for x in (
        0x1950a86a20f9469cfc6c, 1001, {"protocol_version": 1001, "little_endian": True}))
    file += state + pickle.dumps(["77"], 2) + struct.pack("<q", 6) + data
    return file, {"a.weight": torch.tensor([11., 12., 13., 14.]), "a.bias": torch.tensor([13., 15.])}


def rebuild_v3_zip():
    """As PyTorch 2.3 and later write the dtypes that have no storage class."""
    state = (b"\x80\x02}(X\x06\x00\x00\x00countsctorch._utils\n_rebuild_tensor_v3\n((X\x07\x00\x00\x00"
             b"storagectorch.storage\nUntypedStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x08tQK\x01"
             b"K\x03\x85K\x01\x85\x89ccollections\nOrderedDict\n)Rctorch\nuint16\ntRu.")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("v3/data.pkl", state)
        archive.writestr("v3/byteorder", "little")
        archive.writestr("v3/data/0", struct.pack("<4H", 1, 2, 40000, 65535))
    return buffer.getvalue(), {"counts": ("uint16", [3], struct.pack("<3H", 2, 40000, 65535))}


def repack(file, compression, change=lambda name, data: data, extra=()):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, data in extra:
            new.writestr(name, data)
    return buffer.getvalue()


def swap_floats(name, data):
    if "/data/" not in name:
        return data
    return struct.pack(f">{len(data) // 4}f", *struct.unpack(f"<{len(data) // 4}f", data))


def save(state, **options):
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


def contents(tensor):
    """dtype, shape and row-major little-endian bytes."""
    if isinstance(tensor, tuple):
        return tensor
    tensor = tensor.detach()
    raw = bytes(tensor.contiguous().flatten().view(torch.uint8).tolist()) if tensor.numel() else b""
    return str(tensor.dtype).removeprefix("torch."), list(tensor.shape), raw


def flatten(state, prefix=""):
    result = {}
    for key, value in state.items():
        if isinstance(value, dict):
            result.update(flatten(value, f"{prefix}{key}."))
        elif isinstance(value, torch.Tensor):
            result[f"{prefix}{key}"] = value
    return result


def check(loaded, described):
    """What was written by hand must mean the same to PyTorch."""
    loaded = loaded.get("state_dict", loaded)
    found = {k.removeprefix("module."): contents(v) for k, v in flatten(loaded).items()}
    assert found == described


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    old = {"_use_new_zipfile_serialization": False}
    unwrapped = {k.removeprefix("module."): v for k, v in wrapped()["state_dict"].items()}
    floats = OrderedDict(a=values((5, 7), 11), b=values((3, 2), 12).t())
    files = {
        "dtypes_zip.pt": (save(dtypes()), dtypes()),
        "dtypes_stream.pt": (save(dtypes(), **old), dtypes()),
        "views_zip.pt": (save(views()), views()),
        "views_stream.pt": (save(views(), **old), views()),
        "wrapped_zip.pth": (save(wrapped()), unwrapped),
        "wrapped_stream.th": (save(wrapped(), **old), unwrapped),
        "nested_zip.pt": (save(nested()), flatten(nested())),
        "protocol4_zip.pt": (save(views(), pickle_protocol=4), views()),
        "protocol4_stream.pt": (save(views(), pickle_protocol=4, **old), views()),
        "deflated_zip.pt": (repack(save(views()), zipfile.ZIP_DEFLATED), views()),
        "big_endian_zip.pt": (repack(save(floats), zipfile.ZIP_STORED, swap_floats,
                                     [("archive/byteorder", "big")]), floats),
        "rebuild_v3_zip.pt": rebuild_v3_zip(),
        "python2_stream.pth": python2_stream(),
    }
    manifest = {}
    for name, (data, state) in files.items():
        (folder / name).write_bytes(data)
        described = {k: contents(v) for k, v in state.items()}
        manifest[name] = {k: {"dtype": d, "shape": s, "crc32": zlib.crc32(raw)}
                          for k, (d, s, raw) in described.items()}
        if "v3" not in name and "big" not in name:  # which this PyTorch is too old for
            check(torch.load(folder / name, encoding="latin1"), described)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
