#!/usr/bin/env python3
"""The programs `zood` and `zoo` together, as people run them.

    end_to_end.py ZOOD ZOO TEST-DATA

Starts a daemon on a temporary store and free ports, then imports, classifies, evaluates, moves
aliases, removes, and makes mistakes; checks what is printed and the exit codes.
"""
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

ZOOD, ZOO, DATA = sys.argv[1:4]
CHECKPOINTS = pathlib.Path(DATA) / "ckpt"
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


def png(width, height):
    """An RGB image of smooth colours."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(width)
                      for v in (x * 255 // width, y * 255 // height, (x + y) % 256))
        for y in range(height))

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


class EndToEnd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="zoo_end_to_end_")
        cls.root = pathlib.Path(cls.folder.name)
        cls.photo = cls.root / "photo.png"
        cls.photo.write_bytes(png(160, 120))
        ready = cls.root / "ready"
        cls.daemon = subprocess.Popen(
            [ZOOD, "serve", "--data-dir", cls.root / "store", "--port", "0", "--http-port", "0",
             "--ready-file", ready, "--model-root", CHECKPOINTS, "--grace-seconds", "5"],
            stderr=subprocess.DEVNULL)
        for _ in range(600):
            if ready.exists() or cls.daemon.poll() is not None:
                break
            time.sleep(0.1)
        assert ready.exists(), "zood did not start"
        port = ready.read_text().split()[0].removeprefix("grpc=")
        cls.environment = dict(os.environ, ZOO_ADDRESS=f"127.0.0.1:{port}")

    @classmethod
    def tearDownClass(cls):
        cls.daemon.send_signal(signal.SIGTERM)
        code = cls.daemon.wait(timeout=60)
        cls.folder.cleanup()
        assert code == 0, f"zood ended with {code}"

    def zoo(self, *arguments, code=0):
        """Runs zoo, expects its exit code, returns what it printed."""
        done = subprocess.run([ZOO, *map(str, arguments)], env=self.environment, timeout=300,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}")
        if code != 0:
            return done.stderr
        return done.stdout

    def json(self, *arguments):
        return json.loads(self.zoo("--json", *arguments))

    def test_1_import_and_classify(self):
        uploaded = self.json("import", CHECKPOINTS / "mobilenet_v1_025_v2.ckpt", "--arch",
                             "mobilenet_v1_025", "--name", "mobilenet", "--load")
        self.assertEqual(uploaded["version"], "1")
        self.assertEqual(uploaded["status"]["state"], "AVAILABLE")
        remote = self.json("import", "--remote", "mobilenet_v1_025_v1.ckpt", "--arch",
                           "mobilenet_v1_025", "--name", "mobilenet", "--alias", "old")
        self.assertEqual(remote["version"], "2")
        self.assertIn("old", remote["aliases"])
        answers = [self.json("classify", model, self.photo, "--top", "3", "--logits")
                   for model in ("mobilenet@1", "mobilenet@old")]
        self.assertEqual([answer["model"]["version"] for answer in answers], ["1", "2"])
        # The same weights in TensorFlow's two formats.
        logits = [answer["results"][0]["logits"] for answer in answers]
        self.assertEqual(logits[0], logits[1])
        classes = answers[0]["results"][0]["classes"]
        self.assertEqual(len(classes), 3)
        self.assertGreaterEqual(classes[0]["probability"], classes[1]["probability"])
        text = self.zoo("classify", "mobilenet", self.photo, self.photo)
        self.assertIn("PROBABILITY", text)
        self.assertIn("2 images by mobilenet, version 1", text)

    def test_2_lists(self):
        self.assertIn("mobilenet", self.zoo("models"))
        self.assertIn("stable: 1", self.zoo("models"))
        shown = self.zoo("show", "mobilenet")
        self.assertIn("mobilenet@1", shown)
        self.assertIn("SHA-256", shown)
        names = [a["name"] for a in self.json("architectures")["architectures"]]
        self.assertIn("resnet_v1_50", names)
        self.assertIn("resnet_v1_50", self.zoo("architectures"))
        self.assertIn("mobilenet", self.zoo("status"))
        self.assertEqual(self.zoo("status", "--quiet"), "")

    def test_3_alias_load_unload_rm(self):
        self.assertIn("(was 1)", self.zoo("alias", "mobilenet", "stable", "2"))
        self.assertEqual(self.json("show", "mobilenet")["version"], "2")
        self.assertIn("AVAILABLE", self.zoo("load", "mobilenet@2"))
        self.assertIn("unloaded", self.zoo("unload", "mobilenet"))
        self.zoo("alias", "mobilenet", "old", "--delete")
        # `stable` names it.
        self.assertIn("stable", self.zoo("rm", "mobilenet@2", code=1))
        self.zoo("rm", "mobilenet@1")
        self.zoo("rm", "mobilenet@2", "--force")
        self.zoo("show", "mobilenet@2", code=1)

    def test_4_lenet_on_fashion_mnist(self):
        self.zoo("import", CHECKPOINTS / "lenet12_v2.ckpt", "--arch", "lenet", "--size", "12")
        images, labels = (FASHION / f"t10k-{kind}-ubyte.gz"
                          for kind in ("images-idx3", "labels-idx1"))
        if not images.exists():
            print(f"not run: {images} not here; install dataset-fashion-mnist", file=sys.stderr)
            return
        report = self.json("eval", "lenet", "--images", images, "--labels", labels, "--max", "200")
        self.assertEqual(report["images"], "200")
        self.assertEqual(sum(map(int, report["confusion"])), 200)
        self.assertEqual(sum(int(c["images"]) for c in report["classes"]), 200)
        self.assertIn("top-1", self.zoo("eval", "lenet", "--images", images, "--labels", labels,
                                        "--max", "20", "--confusion"))
        self.assertIn("outside of the directories", self.zoo("eval", "lenet", "--remote", "--images",
                                                             images, "--labels", labels, code=1))

    def test_5_eval_folder(self):
        for label in ("3", "7"):
            folder = self.root / "labelled" / label
            folder.mkdir(parents=True)
            (folder / "a.png").write_bytes(png(28, 28))
        report = self.json("eval", "lenet", "--folder", self.root / "labelled")
        self.assertEqual(report["images"], "2")
        self.assertEqual([report["classes"][i]["images"] for i in (3, 7)], ["1", "1"])
        (folder / "broken.png").write_bytes(b"no image")
        self.assertIn("broken.png", self.zoo("eval", "lenet", "--folder", self.root / "labelled",
                                             code=1))
        text = self.zoo("eval", "lenet", "--folder", self.root / "labelled", "--skip-bad")
        self.assertIn("1 bad image left out", text)

    def test_6_mistakes(self):
        self.assertIn("nothere", self.zoo("classify", "nothere", self.photo, code=1))
        self.assertIn("gone.png", self.zoo("classify", "lenet", "gone.png", code=1))
        broken = self.root / "broken.png"
        broken.write_bytes(b"no image")
        self.assertIn("broken.png", self.zoo("classify", "lenet", broken, code=1))
        self.assertIn("gone.ckpt", self.zoo("import", "gone.ckpt", "--arch", "lenet", code=1))
        # Another network's weights: nothing is stored.
        self.zoo("import", CHECKPOINTS / "lenet12_v1.ckpt", "--arch", "resnet_v1_50", "--name", "bad",
                 code=1)
        self.zoo("show", "bad", code=1)
        self.zoo("classify", "lenet", code=2)
        self.zoo("rm", "lenet", code=2)
        message = self.zoo("models", "--address", "127.0.0.1:1", code=3)
        self.assertIn("zood serve", message)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
