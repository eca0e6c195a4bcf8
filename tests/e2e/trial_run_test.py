#!/usr/bin/env python3
"""A network that takes minutes for one image: its import ends when the daemon is told to, within the
grace, and when its client goes.

    trial_run_test.py ZOOD ZOO TEST-DATA
"""
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import pathlib

import end_to_end

GRACE = 5  # of the daemon that end_to_end starts, in seconds
LAYER = 8  # what one layer may take on a busy machine; all take five times as long

def network(side, kernel, pad, layers):
    """Poolings one after the other, each of every place."""
    text = f'input: "data" input_dim: 1 input_dim: 3 input_dim: {side} input_dim: {side}\n'
    bottom = "data"
    for i in range(layers):
        text += (f'layer {{ name: "wide{i}" type: "Pooling" bottom: "{bottom}" top: "wide{i}" '
                 f'pooling_param {{ pool: AVE kernel_size: {kernel} stride: 1 pad: {pad} }} }}\n')
        bottom = f"wide{i}"
    return text + f"""
layer {{ name: "all" type: "Pooling" bottom: "{bottom}" top: "all"
        pooling_param {{ pool: AVE global_pooling: true }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "all" top: "fc"
        inner_product_param {{ num_output: 2 }} }}
"""


def field(number, value):
    def varint(n):
        out = b""
        while n >= 0x80:
            out += bytes([n & 0x7F | 0x80])
            n >>= 7
        return out + bytes([n])
    return varint(number << 3 | 2) + varint(len(value)) + value


def weights():
    """A NetParameter with the blobs of `fc`."""
    def blob(shape, values):
        return field(7, field(7, field(1, bytes(shape)))
                     + field(5, struct.pack(f"<{len(values)}f", *values)))
    layer = field(1, b"fc") + field(2, b"InnerProduct") + blob([2, 3], [0.1] * 6) + blob([2], [0, 1])
    return field(100, layer)


class TrialRun(unittest.TestCase):
    def test_ends_with_its_client_and_with_the_daemon(self):
        with tempfile.TemporaryDirectory(prefix="zood_trial_run_") as folder:
            root = pathlib.Path(folder)
            # Nearly as much as an import may compute, in all and in each layer: half a minute.
            (root / "net.prototxt").write_text(network(200, 121, 60, 11))
            # As much in one layer, which nothing could interrupt.
            (root / "one.prototxt").write_text(network(900, 800, 0, 1))
            (root / "net.caffemodel").write_bytes(weights())
            daemon, port = end_to_end.start(root)
            command = [end_to_end.ZOO, "--address", f"127.0.0.1:{port}", "import",
                       root / "net.caffemodel", "--prototxt", root / "net.prototxt"]
            try:
                refused = subprocess.run(
                    [*command[:-1], root / "one.prototxt", "--name", "one"], capture_output=True, text=True,
                    timeout=60)
                self.assertEqual(refused.returncode, 1)
                self.assertIn("the layer 'wide0' takes", refused.stderr)
                gone = self.begin([*command, "--name", "gone"])
                gone.kill()
                gone.wait()
                # The only worker is free again: the next import gets as far.
                begun = time.monotonic()
                importing = self.begin([*command, "--name", "wide"])
                self.assertLess(time.monotonic() - begun, LAYER)
                begun = time.monotonic()
                daemon.send_signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(timeout=60), 0)
                self.assertLess(time.monotonic() - begun, GRACE + LAYER)
                self.assertIn(importing.wait(timeout=60), (1, 3))
                self.assertNotIn("version 1", importing.stdout.read())
            finally:
                daemon.kill()
                daemon.wait()

    def begin(self, command):
        """An import that is computing its image."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True)
        said = ""
        while "checking" not in said:
            line = process.stdout.readline()
            self.assertTrue(line, f"the import ended: {said}")
            said += line
        return process


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
