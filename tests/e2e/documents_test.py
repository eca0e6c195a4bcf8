#!/usr/bin/env python3
"""The examples of README.md and docs/clients.md, run as their readers run them.

    documents_test.py ZOOD ZOO README-SAMPLE SOURCE

Takes the commands that make Python stubs and every Python program out of the documents, and the C++
program of the README as it was compiled, and runs them where the documents say that they are run,
against a daemon with a small network in the place of EfficientNet-Lite0. Needs Debian's packages
python3-grpcio, python3-protobuf and protobuf-compiler-grpc (tools/install).
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ZOOD, ZOO, ASK, SOURCE = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:5])
sys.path.insert(0, str(pathlib.Path(SOURCE) / "tests" / "client"))
sys.argv[1:] = [ZOOD, ZOO, f"{SOURCE}/tests/data"]
from end_to_end import colors, png  # noqa: E402  (needs the arguments)


def blocks(document, language):
    text = (pathlib.Path(SOURCE) / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def python():
    """An interpreter that has gRPC: this one, or the system's."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([candidate, "-c", "import grpc, google.protobuf"],
                          capture_output=True).returncode == 0:
            return candidate
    raise AssertionError("no Python has gRPC: apt-get install python3-grpcio python3-protobuf")


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="zood_documents_")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.root = pathlib.Path(cls.folder.name)
        (cls.root / "proto").symlink_to(pathlib.Path(SOURCE) / "proto")
        photos = cls.root / ".zood" / "photos"
        photos.mkdir(parents=True)
        (photos / "coffee.png").write_bytes(png(160, 120))
        colors(cls.root / "flower_photos", 12)
        ready = cls.root / "ready"
        cls.daemon = subprocess.Popen(
            [ZOOD, "serve", "--data-dir", cls.root / "store", "--port", "0", "--http-port", "0",
             "--ready-file", ready], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(cls.end_daemon)
        while not ready.exists() and cls.daemon.poll() is None:
            time.sleep(0.05)
        cls.address = "127.0.0.1:" + ready.read_text().split()[0].removeprefix("grpc=")
        cls.run_there([ZOO, "--address", cls.address, "import", "--arch", "mobilenet_v1_025",
                       "--name", "efficientnet_lite0",
                       f"{SOURCE}/tests/data/ckpt/mobilenet_v1_025_v2.ckpt"])
        # What the README says in a shell: the commands that make the stubs.
        stubs = [block for block in blocks("README.md", "sh") if "protoc" in block]
        assert len(stubs) == 1 and stubs[0] in blocks("docs/clients.md", "sh")
        cls.run_there(["sh", "-ec", stubs[0]])
        cls.python = python()

    @classmethod
    def end_daemon(cls):
        cls.daemon.send_signal(signal.SIGTERM)
        code = cls.daemon.wait(timeout=60)
        assert code == 0, f"zood ended with {code}"

    @classmethod
    def run_there(cls, command):
        done = subprocess.run([str(part) for part in command], cwd=cls.root, capture_output=True,
                              text=True, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def answers(self):
        """The three best classes of the photo, as the command line tells them."""
        answer = json.loads(self.run_there([ZOO, "--address", self.address, "--json", "classify",
                                            "efficientnet_lite0", ".zood/photos/coffee.png"]))
        return [(c["label"], c["probability"]) for c in answer["results"][0]["classes"][:3]]

    def run_python(self, program):
        self.assertIn("localhost:8500", program)
        return self.run_there([self.python, "-c", program.replace("localhost:8500", self.address)])

    def test_cpp_of_the_readme(self):
        self.assertEqual(len(blocks("README.md", "cpp")), 1)  # docs_sample_test.cc: it is this one
        said = self.run_there([ASK, self.address, ".zood/photos/coffee.png"])
        self.assertEqual(said.splitlines(),
                         [f"{p * 100:6.2f} %  {label}" for label, p in self.answers()])

    def test_python_of_the_readme(self):
        program, = blocks("README.md", "python")
        self.assertEqual(self.run_python(program).splitlines(),
                         [f"{p:7.2%}  {label}" for label, p in self.answers()])

    def test_python_of_clients(self):
        stream, train = blocks("docs/clients.md", "python")
        label, probability = self.answers()[0]
        self.assertEqual(self.run_python(stream), f"coffee.png: {label} ({probability:.2%})\n")
        said = self.run_python(train.replace("epochs = 20", "epochs = 2")
                               .replace("accuracy = 0.9", "accuracy = 0.01")).splitlines()
        self.assertEqual(said[0], "36 photos, 0 left out")
        self.assertTrue(any(re.fullmatch(r"step \d+: top-1 \d+\.\d\d%", line) for line in said), said)
        self.assertRegex(said[-1], r"^SUCCEEDED flowers \d+$")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
