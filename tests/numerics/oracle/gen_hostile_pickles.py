#!/usr/bin/env python3
"""Writes tests/data/pytorch/hostile: files meant to do harm, or to make their reader do it,
and a manifest with a part of the message by which each must be refused. Needs only Python.

  tests/numerics/oracle/gen_hostile_pickles.py tests/data/pytorch/hostile
"""
import builtins
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

PREAMBLE = b"".join(pickle.dumps(x, 2) for x in (
    0x1950a86a20f9469cfc6c, 1001, {"protocol_version": 1001, "little_endian": True}))


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def stream(state, keys=(), data=b""):
    """A file in the stream form around a pickle."""
    return PREAMBLE + state + pickle.dumps(list(keys), 2) + data


def archive(state, entries=()):
    """A file in the zip form around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", state)
        for name, data in entries:
            file.writestr(name, data)
    return buffer.getvalue()


def text(string):
    return b"X" + struct.pack("<I", len(string)) + string.encode()


def storage(elements, key="0", name=b"FloatStorage"):
    return (b"(" + text("storage") + b"ctorch\n" + name + b"\n" + text(key) + text("cpu") +
            pickle.dumps(elements, 2)[2:-1] + b"tQ")


def tensor(storage_, offset, size, stride):
    def numbers(values):
        return b"(" + b"".join(pickle.dumps(v, 2)[2:-1] for v in values) + b"t"
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage_ + pickle.dumps(offset, 2)[2:-1] +
            numbers(size) + numbers(stride) + b"\x89}tR")


def state(value):
    return b"\x80\x02}" + text("w") + value + b"s."


def one_tensor(elements, offset, size, stride):
    """A tensor that claims this of a storage of four floats."""
    return stream(state(tensor(storage(elements), offset, size, stride)), ["0"],
                  struct.pack("<q4f", 4, 1, 2, 3, 4))


def nested_dictionaries(depth):
    return stream(b"\x80\x02" + b"}" + (text("d") + b"}") * depth + b"s" * depth + b".")


def shared_dictionaries(levels):
    """Each dictionary holds the one below it twice: two to the power of `levels` ways down."""
    body = b"}" + text("w") + tensor(storage(4), 0, [4], [1]) + b"sq\x00"
    for level in range(levels):
        memo = bytes([level])
        body += b"0}" + text("a") + b"h" + memo + b"s" + text("b") + b"h" + memo + b"sq" + \
            bytes([level + 1])
    return stream(b"\x80\x02" + body + b".")


FILES = {
    # What Python would run.
    "os_system.pt": (stream(pickle.dumps(Calls(os.system, "echo harm"), 2)), "posix.system"),
    "os_system_plain.pt": (pickle.dumps(Calls(os.system, "echo harm"), 2), "posix.system"),
    "os_system_zip.pt": (archive(pickle.dumps(Calls(os.system, "echo harm"), 2)), "posix.system"),
    "os_system_by_name.pt": (stream(b"\x80\x02cos\nsystem\n" + text("echo harm") + b"\x85R."),
                             "os.system"),
    "eval_protocol4.pt": (stream(pickle.dumps(Calls(builtins.eval, "1 + 1"), 4)), "builtins.eval"),
    "exec_in_state.pt": (stream(pickle.dumps({"w": Calls(builtins.exec, "pass")}, 2)),
                         "__builtin__.exec"),
    "getattr.pt": (stream(pickle.dumps(Calls(builtins.getattr, "", "upper"), 2)),
                   "__builtin__.getattr"),
    "popen.pt": (archive(pickle.dumps(Calls(subprocess.Popen, ["true"]), 4)), "subprocess.Popen"),
    "instance.pt": (stream(b"\x80\x02(" + text("echo harm") + b"ios\nsystem\n."), "os.system"),
    "module.pt": (stream(b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81}b."),
                  "torch.nn.modules.linear.Linear"),
    "torch_load.pt": (stream(b"\x80\x02ctorch\nload\n" + text("other.pt") + b"\x85R."), "torch.load"),
    "name_with_newline.pt": (stream(b"\x80\x04" + b"\x8c\x02os" + b"\x8c\x06sys\ntm" + b"\x93."),
                             "os.sys\\x0atm"),
    "extension.pt": (stream(b"\x80\x02\x82\x01."), "opcode 0x82"),
    # What would use up memory or time.
    "huge_integer.pt": (stream(b"\x80\x02\x8b\xff\xff\xff\x7f."), "an integer of 2147483647 bytes"),
    "huge_string.pt": (stream(b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"."),
                       f"a string of {2**62} bytes"),
    "huge_memo_index.pt": (stream(b"\x80\x02Nr\xff\xff\xff\x7f."), "memo index 2147483647"),
    "deep_dictionaries.pt": (nested_dictionaries(5000), "nested more than"),
    "shared_dictionaries.pt": (shared_dictionaries(30), "budget"),
    "dictionary_in_itself.pt": (stream(b"\x80\x02}q\x00" + text("d") + b"h\x00s."),
                                "nested more than"),
    "huge_storage.pt": (one_tensor(2**61, 0, [4], [1]), "no sound type and size"),
    "negative_storage.pt": (one_tensor(-4, 0, [4], [1]), "no sound type and size"),
    "larger_storage.pt": (one_tensor(2**40, 0, [4], [1]), "should have 1099511627776 elements"),
    "huge_shape.pt": (one_tensor(4, 0, [2**40, 2**40], [0, 0]), "is impossible"),
    "repeated.pt": (one_tensor(4, 0, [2**40], [0]), "by repetition"),
    # What would read outside of the storage.
    "past_the_end.pt": (one_tensor(4, 1, [4], [1]), "lies outside of storage '0' of 4 elements"),
    "long_stride.pt": (one_tensor(4, 0, [2, 2], [3, 1]), "lies outside"),
    "overflowing_stride.pt": (one_tensor(4, 0, [4], [2**62]), "lies outside"),
    "negative_stride.pt": (one_tensor(4, 3, [4], [-1]), "not a natural number"),
    "negative_offset.pt": (one_tensor(4, -1, [4], [1]), "sound storage and offset"),
    "ranks_differ.pt": (one_tensor(4, 0, [4], [1, 1]), "1 extents but 2 strides"),
    "missing_storage.pt": (stream(state(tensor(storage(4), 0, [4], [1]))), "are missing from the file"),
    "missing_entry.pt": (archive(state(tensor(storage(4), 0, [4], [1]))), "has no archive/data/0"),
    "short_entry.pt": (archive(state(tensor(storage(4), 0, [4], [1])), [("archive/data/0", b"abc")]),
                       "should have 16 bytes"),
    "unknown_storage.pt": (stream(state(tensor(storage(4, name=b"OddStorage"), 0, [4], [1]))),
                           "torch.OddStorage"),
    "two_types.pt": (stream(b"\x80\x02}(" + text("a") + tensor(storage(4), 0, [4], [1]) + text("b") +
                            tensor(storage(4, name=b"IntStorage"), 0, [4], [1]) + b"u."),
                     "4 of float32 and as 4 of int32"),
    # What is no program at all.
    "underflow.pt": (stream(b"\x80\x02s."), "more from the stack"),
    "no_mark.pt": (stream(b"\x80\x02Nt."), "needs a mark"),
    "forgotten_memo.pt": (stream(b"\x80\x02h\x05."), "the memo has no entry 5"),
    "no_stop.pt": (PREAMBLE + b"\x80\x02}", "without a STOP"),
    "odd_entries.pt": (stream(b"\x80\x02}(Nu."), "a key without a value"),
    "call_of_a_string.pt": (stream(b"\x80\x02" + text("f") + b")R."), "a call of what is not a name"),
    "no_dictionary.pt": (stream(b"\x80\x02K\x07."), "no dictionary of tensors"),
    "no_tensors.pt": (stream(b"\x80\x02}" + text("epoch") + b"K\x07s."), "holds no tensors"),
    "wrong_version.pt": (PREAMBLE.replace(pickle.dumps(1001, 2), pickle.dumps(1002, 2)),
                         "protocol version 1002"),
    "plain_pickle.pt": (pickle.dumps({"w": [1, 2]}, 2), "none of torch.save"),
    "torchscript.pt": (archive(pickle.dumps({}, 2), [("archive/constants.pkl", b"")]), "TorchScript"),
}


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, (data, _) in FILES.items():
        (folder / name).write_bytes(data)
    manifest = {name: message for name, (_, message) in FILES.items()}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
