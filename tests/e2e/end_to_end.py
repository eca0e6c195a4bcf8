#!/usr/bin/env python3
"""The programs `zood` and `zoo` together, as people run them.

    end_to_end.py ZOOD ZOO TEST-DATA

Starts a daemon on a temporary store and free ports, then imports, classifies, evaluates, moves
aliases, removes, trains, is killed, and makes mistakes; checks what is printed and the exit codes.
"""
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import zipfile
import zlib

ZOOD, ZOO, DATA = sys.argv[1:4]
CHECKPOINTS = pathlib.Path(DATA) / "ckpt"
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


def smooth(width, height):
    return lambda x, y: (x * 255 // width, y * 255 // height, (x + y) % 256)


def png(width, height, pixel=None):
    """An RGB image of smooth colors, or of what `pixel` says of (x, y)."""
    pixel = pixel or smooth(width, height)
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y))
                    for y in range(height))

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


def colors(folder, count):
    """A folder for each of three colors, with `count` noisy images of it."""
    chance = random.Random(1)
    for k, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            shade = [chance.randrange(80) for _ in range(3)]
            shade[k] = 180 + chance.randrange(50)
            image = png(32, 32, lambda x, y: [s + chance.randrange(20) for s in shade])
            (folder / name / f"{i}.png").write_bytes(image)


def start(root, port="0"):
    """A daemon on root/store, and its port."""
    ready = root / "ready"
    ready.unlink(missing_ok=True)
    daemon = subprocess.Popen(
        [ZOOD, "serve", "--data-dir", root / "store", "--port", port, "--http-port", "0",
         "--ready-file", ready, "--model-root", CHECKPOINTS, "--grace-seconds", "5"],
        stderr=subprocess.DEVNULL)
    for _ in range(600):
        if ready.exists() or daemon.poll() is not None:
            break
        time.sleep(0.1)
    assert ready.exists(), "zood did not start"
    return daemon, ready.read_text().split()[0].removeprefix("grpc=")


class WithDaemon(unittest.TestCase):
    """One daemon for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="zoo_end_to_end_")
        cls.root = pathlib.Path(cls.folder.name)
        cls.photo = cls.root / "photo.png"
        cls.photo.write_bytes(png(160, 120))
        cls.daemon, cls.port = start(cls.root)
        cls.environment = dict(os.environ, ZOO_ADDRESS=f"127.0.0.1:{cls.port}")

    @classmethod
    def tearDownClass(cls):
        cls.daemon.send_signal(signal.SIGTERM)
        code = cls.daemon.wait(timeout=60)
        cls.folder.cleanup()
        assert code == 0, f"zood ended with {code}"

    def zoo(self, *arguments, code=0, stdin=None):
        """Runs zoo, expects its exit code, returns what it printed."""
        done = subprocess.run([ZOO, *map(str, arguments)], env=self.environment, timeout=300,
                              capture_output=True, text=True, stdin=stdin)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}")
        if code != 0:
            return done.stderr
        return done.stdout

    def json(self, *arguments):
        return json.loads(self.zoo("--json", *arguments))


class EndToEnd(WithDaemon):
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
        self.assertRegex(self.zoo("gc"), r"freed: \d+ tensors? forgotten, \d+ packs? removed, \d+ of them rewritten")
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
            folder = self.root / "labeled" / label
            folder.mkdir(parents=True)
            (folder / "a.png").write_bytes(png(28, 28))
        report = self.json("eval", "lenet", "--folder", self.root / "labeled")
        self.assertEqual(report["images"], "2")
        self.assertEqual([report["classes"][i]["images"] for i in (3, 7)], ["1", "1"])
        (folder / "broken.png").write_bytes(b"no image")
        self.assertIn("broken.png", self.zoo("eval", "lenet", "--folder", self.root / "labeled",
                                             code=1))
        text = self.zoo("eval", "lenet", "--folder", self.root / "labeled", "--skip-bad")
        self.assertIn("1 bad image left out", text)

    def test_6_datasets(self):
        folder = self.root / "Some Colors"
        colors(folder, 40)
        (folder / "red" / "torn.png").write_bytes(png(32, 32)[:200])
        (folder / "red" / "notes.txt").write_text("not a photo")
        made = self.json("dataset", "create", "colors", folder, "--validation", "0.25", "--note",
                         "three of them")
        self.assertEqual([c["name"] for c in made["classes"]], ["blue", "green", "red"])
        self.assertEqual(made["num_items"], "120")
        self.assertIn("red/torn.png", [problem["item"] for problem in made["problems"]])
        shown = self.zoo("dataset", "show", "colors")
        self.assertIn("red/torn.png", shown)
        self.assertIn("three of them", shown)
        self.assertIn("colors", self.zoo("dataset", "list"))
        items = self.json("dataset", "items", "colors", "--split", "validation", "--max", "0")
        self.assertEqual(len(items["items"]), int(made["counts"]["validation"]))
        self.assertEqual({item["split"] for item in items["items"]}, {"VALIDATION"})
        self.assertIn("--max 0", self.zoo("dataset", "items", "colors", "--max", "2"))
        # The same images in an archive, and once more: the same dataset, or its name is taken.
        archive = self.root / "colors.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, "colors")
        again = self.json("dataset", "create", "copy", archive, "--validation", "0.25")
        self.assertEqual(again["counts"], made["counts"])
        taken = self.zoo("dataset", "create", "colors", archive, "--validation", "0.5", code=1)
        self.assertIn("already has a dataset 'colors' (120 images", taken)
        self.assertNotIn("receiving", taken)
        self.zoo("dataset", "rm", "copy")
        self.zoo("dataset", "show", "copy", code=1)
        self.assertIn("gone", self.zoo("dataset", "create", "gone", "gone", code=1))
        self.assertIn("outside", self.zoo("dataset", "create", "--remote", "far", folder, code=1))

    def test_6_names_of_classes(self):
        """One rule, whichever way photos come: labels, WordNet's ids, numbers; in NFC or NFD."""
        folder = self.root / "wnid"
        for wnid, size in (("n02123045", 30), ("n01440764", 40), ("n15075141", 50), ("7", 60)):
            (folder / wnid).mkdir(parents=True)
            (folder / wnid / "a.png").write_bytes(png(size, size))
        self.json("import", CHECKPOINTS / "mobilenet_v1_025_v2.ckpt", "--arch", "mobilenet_v1_025",
                  "--name", "wnids")
        with tarfile.open(self.root / "wnid.tar", "w") as tar:
            tar.add(folder, "wnid")
        for name, source in (("ids", folder), ("ids_packed", self.root / "wnid.tar")):
            self.json("dataset", "create", name, source, "--validation", "0")
        reports = [self.json("eval", "wnids", "--folder", folder),
                   self.json("eval", "wnids", "--dataset", "ids"),
                   self.json("eval", "wnids", "--dataset", "ids_packed", "--split", "train")]
        for report in reports:  # 1001 classes, the first of them background
            self.assertEqual([i for i, c in enumerate(report["classes"]) if int(c["images"]) > 0],
                             [1, 7, 282, 1000])
        (folder / "n99999999").mkdir()
        (folder / "n99999999" / "a.png").write_bytes(png(30, 30))
        self.assertIn("n99999999' is no class", self.zoo("eval", "wnids", "--folder", folder,
                                                         code=1))
        shown = self.json("show", "wnids")
        self.assertEqual((shown["class_ids"][0], shown["class_ids"][1]), ("", "n01440764"))
        answer = self.json("classify", "wnids", self.photo)
        self.assertEqual(answer["labels_digest"], shown["labels_digest"])
        self.assertEqual(len(answer["labels_digest"]), 64)
        self.assertIn("taken", self.zoo("show", "wnids"))  # what its import took

        labels = self.root / "labels.txt"
        labels.write_bytes("\ufeffcaf\u00e9\nb\nc\nd\ne\nf\ng\nh\ni\nj\n".encode())
        self.json("import", CHECKPOINTS / "lenet12_v2.ckpt", "--arch", "lenet", "--size", "12",
                  "--name", "accents", "--labels", labels)
        spelled = self.root / "spelled"
        (spelled / "cafe\u0301").mkdir(parents=True)
        (spelled / "cafe\u0301" / "a.png").write_bytes(png(28, 28))
        (spelled / "b").mkdir()
        (spelled / "b" / "b.png").write_bytes(png(29, 28))
        self.json("dataset", "create", "spelled", spelled, "--validation", "0")
        for report in (self.json("eval", "accents", "--folder", spelled),
                       self.json("eval", "accents", "--dataset", "spelled")):
            self.assertEqual([int(c["images"]) for c in report["classes"]][:3], [1, 1, 0])

    def test_6_files_that_people_have(self):
        folder = self.root / "latin"
        for name in (b"roses/caf\xe9.png", b"roses/b.png", b"caf\xe9s/a.png", b"caf\xe9s/b.png"):
            path = os.path.join(os.fsencode(folder), name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as photo:
                photo.write(png(20 + len(name), 20))
        made = self.json("dataset", "create", "latin", folder)
        self.assertEqual(made["num_items"], "4")
        self.assertEqual([c["name"] for c in made["classes"]], ["caf\\xe9s", "roses"])
        whole = self.root / "whole.zip"
        with zipfile.ZipFile(whole, "w") as packed:
            for name in ("a/1.png", "a/2.png", "b/1.png"):
                packed.writestr(name, png(20 + len(name), 21))
        for name, size in (("half", 0.5), ("most", 0.9), ("less", 0.99)):
            cut = self.root / f"{name}.zip"
            cut.write_bytes(whole.read_bytes()[:int(whole.stat().st_size * size)])
            self.assertIn("is a damaged zip", self.zoo("dataset", "create", name, cut, code=1))
        packed = self.root / "lzma.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as lzma:
            lzma.writestr("a/1.png", png(20, 21))
        self.assertIn("expected deflate, or none",
                      self.zoo("dataset", "create", "lzma", packed, code=1))

    def test_7_train_the_head(self):
        create = ["finetune", "create", "--base", "lenet", "--data", "colors", "--model", "tints",
                  "--batch", "16", "--seed", "3", "--max-problems", "0.1"]
        sound = self.zoo(*create, "--check")
        self.assertIn("The job is sound", sound)
        done = self.zoo(*create, "--epochs", "3", "--learning-rate", "0.05", "--alias", "stable",
                        "--min-accuracy", "0.01", "--metadata", "why=test")
        self.assertIn("minimum_accuracy passed", done)
        self.assertIn("why = test", done)
        job = self.json("finetune", "list", "--model", "tints")["jobs"][0]
        self.assertEqual(job["state"], "SUCCEEDED")
        self.assertEqual(job["spec"]["seed"], "3")
        changed = self.json("finetune", "show", job["id"])
        self.assertEqual(changed["num_updated_variables"], "2")
        result = job["result"]["version"]
        with open(self.root / "Some Colors" / "red" / "1.png", "rb") as photo:
            answer = json.loads(self.zoo("--json", "classify", "tints", "-", stdin=photo))
        self.assertEqual(answer["model"]["version"], result)
        self.assertEqual({c["label"] for c in answer["results"][0]["classes"]},
                         {"red", "green", "blue"})
        # Events for programs: one a line, numbered, from where they are asked for.
        events = [json.loads(line) for line in
                  self.zoo("--json", "finetune", "watch", job["id"]).splitlines()]
        numbers = [int(event["sequence"]) for event in events]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(events[-1]["state"]["state"], "SUCCEEDED")
        rest = self.zoo("--json", "finetune", "watch", job["id"], "--after", numbers[-2])
        self.assertEqual(len(rest.splitlines()), 1)

    def test_8_gates_promotion_and_export(self):
        before = self.json("show", "tints@stable")["version"]
        self.assertIn("has made no version", self.zoo(
            "finetune", "create", "--base", "tints", "--data", "colors", "--model", "tints",
            "--epochs", "1", "--learning-rate", "1e-6", "--better-than", "stable", "--margin", "1",
            "--alias", "stable", "--max-problems", "0.1", code=1))
        self.assertEqual(self.json("show", "tints@stable")["version"], before)
        job = self.json("finetune", "list", "--max", "1")["jobs"][0]["id"]
        checkpoint = self.json("finetune", "checkpoints", job)["checkpoints"][0]
        version = checkpoint["version"]["version"]
        self.assertIn("(was " + before, self.zoo("finetune", "promote", job, "--version", version,
                                                 "--alias", "stable", "--expected", before))
        promoted = self.json("show", "tints@stable")["version"]
        self.assertNotEqual(promoted, before)
        self.assertIn(f"stable is version {before} again (was {promoted})",
                      self.zoo("finetune", "rollback", job))
        self.assertEqual(self.json("show", "tints@stable")["version"], before)
        out = self.root / "exported"
        files = self.zoo("finetune", "export", job, out).split()
        self.assertEqual({pathlib.Path(file).parent for file in files}, {out})
        self.assertEqual(sum(file.endswith(".index") for file in files), 1)
        self.assertIn("there already", self.zoo("finetune", "export", job, out, code=1))

    def wait_for(self, job, step):
        """Until the job has done so many steps, and not all."""
        for _ in range(3000):
            now = self.json("finetune", "show", job)
            if int(now.get("progress", {}).get("step", 0)) >= step or now["state"] == "FAILED":
                break
            time.sleep(0.02)
        self.assertEqual(now["state"], "RUNNING", now)
        self.assertLess(int(now["progress"]["step"]), int(now["progress"]["steps"]))

    def test_9_killed_and_continued(self):
        def create(model, *more):
            return ["finetune", "create", "--arch", "cifarnet", "--data", "colors", "--model",
                    model, "--optimizer", "momentum", "--augmentation", "cifarnet", "--seed", "11",
                    "--steps", "480", "--batch", "8", "--checkpoint-every", "40steps",
                    "--learning-rate", "0.01", "--max-problems", "0.1", *more]
        whole = self.json(*create("undisturbed"))
        self.assertEqual(whole["state"], "SUCCEEDED")
        killed = self.json(*create("killed", "--detach"))["job"]["id"]
        watch = subprocess.Popen([ZOO, "finetune", "watch", killed], env=self.environment,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.wait_for(killed, 50)
        self.daemon.kill()
        self.daemon.wait()
        type(self).daemon, _ = start(self.root, self.port)
        said, _ = watch.communicate(timeout=300)
        self.assertEqual(watch.returncode, 0, said)
        self.assertEqual(said.count("running"), 2, said)
        again = self.json("finetune", "show", killed)
        self.assertEqual(again["result"]["digest"], whole["result"]["digest"])
        # Paused and resumed: the same again.
        paused = self.json(*create("paused", "--detach"))["job"]["id"]
        self.wait_for(paused, 30)
        self.zoo("finetune", "pause", paused)
        for _ in range(600):
            if self.json("finetune", "show", paused)["state"] == "PAUSED":
                break
            time.sleep(0.1)
        self.zoo("finetune", "resume", paused)
        self.zoo("finetune", "watch", paused)
        again = self.json("finetune", "show", paused)
        self.assertEqual(again["result"]["digest"], whole["result"]["digest"])
        # Cancelled: no result, and the exit code says so.
        cancelled = self.json(*create("cancelled", "--detach"))["job"]["id"]
        self.zoo("finetune", "cancel", cancelled)
        self.assertIn("cancelled", self.zoo("finetune", "watch", cancelled, code=1))

    def test_mistakes(self):
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

    def test_mistakes_name_the_file_and_the_folder(self):
        broken = self.root / "torn.png"
        broken.write_bytes(png(32, 32)[:200])
        # In the second request of many, whose images are counted anew.
        said = self.zoo("classify", "lenet", *[self.photo] * 40, broken, code=1)
        self.assertIn(f"zoo: {broken}: ", said)
        self.assertNotIn("image ", said)
        # Bad ones among good ones: the good ones are answered, the bad ones named.
        gone = self.root / "gone.png"
        done = subprocess.run([ZOO, "classify", "lenet", self.photo, broken, self.photo, gone],
                              env=self.environment, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.count(str(self.photo)), 2)
        self.assertIn("2 images by lenet", done.stdout)
        for bad in (broken, gone):
            self.assertIn(str(bad), done.stderr)
            self.assertNotIn(str(bad), done.stdout)
        self.assertIn("2 of 4 images have no answer", done.stderr)
        with open(broken, "rb") as photo:
            self.assertIn("zoo: standard input: ", self.zoo("classify", "lenet", "-", code=1,
                                                            stdin=photo))
        # A photo is not to blame for a model that is not there.
        self.assertTrue(self.zoo("classify", "nothere", self.photo, code=1).startswith(
            "zoo: there is no model 'nothere'"))
        folder = self.root / "animals"
        for name in ("3/close", "zebra", "empty"):
            (folder / name).mkdir(parents=True)
            (folder / name / "a.png").write_bytes(png(28, 28))
        (folder / "empty" / "a.png").unlink()
        self.assertIn("animals/zebra' is no class of lenet", self.zoo(
            "eval", "lenet", "--folder", folder, code=1))
        (folder / "zebra" / "a.png").unlink()
        report = self.json("eval", "lenet", "--folder", folder)
        self.assertEqual(report["images"], "1")
        self.assertEqual(report["classes"][3]["images"], "1")

    def test_mistakes_in_the_command_line(self):
        said = self.zoo("dance", code=2)
        self.assertIn("there is no command 'dance'", said)
        self.assertIn("`zoo --help`", said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
