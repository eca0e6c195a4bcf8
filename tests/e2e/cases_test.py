#!/usr/bin/env python3
"""Files that people really have, through the command line: each gives what its own framework gives.

    cases_test.py ZOOD ZOO TEST-DATA

ZOOD_CASES_DIR is a folder with those files, ZOOD_MODELS_DIR one with published networks. Exits with
77, which ctest shows as skipped, where the first is not set; tests that need the second are skipped
without it. The right values are OpenCV's, torch's, TensorFlow's and Pillow's.
"""
import os
import pathlib
import subprocess
import sys
import unittest

import end_to_end

CASES = pathlib.Path(os.environ.get("ZOOD_CASES_DIR", "/nowhere"))
MODELS = pathlib.Path(os.environ.get("ZOOD_MODELS_DIR", "/nowhere"))
needs_models = unittest.skipUnless(MODELS.exists(), "ZOOD_MODELS_DIR is not set")


class Cases(end_to_end.WithDaemon):
    def caffe(self, name, weights, prototxt, *more):
        return self.json("import", CASES / weights, "--prototxt", CASES / prototxt, "--name", name,
                         *more)

    def answer(self, model, image):
        """Probability by class index, and the logits."""
        result = self.json("classify", model, image, "--top", "1000", "--logits")["results"][0]
        # What is 0 is left out of JSON.
        return ({c.get("index", 0): c.get("probability", 0) for c in result["classes"]},
                result["logits"])

    def near(self, found, expected, bound=2e-4):
        for index, value in expected.items():
            self.assertAlmostEqual(found[index], value, delta=bound, msg=str(found))

    def test_outputs_of_caffe_networks(self):
        image = CASES / "caffe_outputs/r16.png"
        base = "caffe_outputs/base"
        self.caffe("base", base + ".caffemodel", base + ".prototxt")
        expected, logits = self.answer("base", image)
        self.near(expected, {4: 1})
        for name in ("sm_reshape", "sm_split", "sm_dropout_after"):
            with self.subTest(name):
                self.caffe(name, base + ".caffemodel", f"caffe_outputs/{name}.prototxt")
                self.near(self.answer(name, image)[0], expected, 1e-6)
        self.caffe("sigmoid", base + ".caffemodel", "caffe_outputs/sigmoid_end.prototxt")
        self.near(self.answer("sigmoid", image)[0], {0: 0.2332, 1: 0, 2: 0, 3: 0, 4: 1})
        one = "caffe_outputs/one_sigmoid"
        self.caffe("one", one + ".caffemodel", one + ".prototxt")
        self.near(self.answer("one", image)[0], {0: 0.53384}, 1e-5)
        refused = self.zoo("import", CASES / (base + ".caffemodel"), "--prototxt",
                           CASES / "caffe_outputs/sm_first_then_feature.prototxt", "--name", "both",
                           code=1)
        self.assertIn("--output", refused)
        self.caffe("both", base + ".caffemodel", "caffe_outputs/sm_first_then_feature.prototxt",
                   "--output", "prob")
        self.near(self.answer("both", image)[0], expected, 1e-6)

    def test_half_and_raw_data_of_nvidia(self):
        self.caffe("nv", "nvcaffe/nv_float.caffemodel", "nvcaffe/base.prototxt")
        self.near(self.answer("nv", CASES / "caffe_outputs/r16.png")[0], {4: 1})

    def test_layers_of_caffe_networks(self):
        image = CASES / "caffe_outputs/r16.png"
        weights = "caffe_layers/base.caffemodel"
        self.caffe("plain", "caffe_outputs/base.caffemodel", "caffe_outputs/base.prototxt")
        plain = self.answer("plain", image)
        for name in ("relu6", "clip", "dw", "slice"):
            self.caffe(name, weights, f"caffe_layers/{name}.prototxt")
        relu6 = self.answer("relu6", image)[0]
        self.near(relu6, {4: 0.9641}, 5e-5)
        self.near(self.answer("clip", image)[0], relu6, 1e-6)
        for name in ("dw", "slice"):
            with self.subTest(name):
                self.near(self.answer(name, image)[0], plain[0], 1e-5)
        for name in ("train_val",):
            done = subprocess.run(
                [end_to_end.ZOO, "import", CASES / weights, "--prototxt",
                 CASES / f"caffe_layers/{name}.prototxt", "--name", name],
                env=self.environment, capture_output=True, text=True, timeout=300)
            self.assertIn("train", (done.stdout + done.stderr).lower())

    @needs_models
    def test_wrappers_and_objects_of_pytorch(self):
        photo = MODELS / "cifar_resnet/chelsea_32.png"
        self.json("import", MODELS / "cifar_resnet/resnet20-12fca82f.th", "--arch", "cifar_resnet20",
                  "--name", "resnet20")
        expected = self.answer("resnet20", photo)[1]
        files = sorted((CASES / "pytorch_wrappers").iterdir()) + \
            sorted((CASES / "pytorch_globals").iterdir())
        self.assertEqual(len(files), 8)
        for file in files:
            with self.subTest(file.name):
                version = self.json("import", file, "--arch", "cifar_resnet20", "--name", file.stem)
                for found, right in zip(self.answer(file.stem, photo)[1], expected):
                    self.assertAlmostEqual(found, right, delta=4e-6)
                shown = self.json("show", file.stem)  # the report stays with the version
                for key, value in version["import_report"].items():
                    if not key.startswith("answering"):
                        self.assertEqual(shown["import_report"][key], value)
                if file.parent.name == "pytorch_wrappers":
                    report = version["import_report"]
                    self.assertTrue(report.get("prefix") or report.get("left_aside")
                                    or report.get("choices"), report)

    def test_parts_of_a_tensorflow_checkpoint(self):
        parts = CASES / "tf_parts"
        prefix = parts / "model.ckpt-1"
        digests = set()
        for name in (prefix, f"{prefix}.index", f"{prefix}.data-00000-of-00001", f"{prefix}.meta",
                     f"{prefix}*", parts, parts / "checkpoint"):
            digests.add(self.json("import", name, "--arch", "mobilenet_v1_025", "--name",
                                  "parts")["digest"])
        several = [f"{prefix}.index", f"{prefix}.data-00000-of-00001", f"{prefix}.meta"]
        digests.add(self.json("import", *several, "--arch", "mobilenet_v1_025", "--name",
                              "parts")["digest"])
        self.assertEqual(len(digests), 1, digests)

    def test_labels(self):
        labels = CASES / "labels"
        found = []
        for name in ("slim", "bom"):
            version = self.caffe(f"labels_{name}", "labels/base.caffemodel", "labels/base.prototxt",
                                 "--labels", labels / f"{name}.txt")
            found.append(version["labels"])
            report = self.json("eval", f"labels_{name}", "--folder", labels / "f")
            measured = [c["label"] for c in report["classes"] if int(c.get("images", 0)) > 0]
            self.assertEqual(measured, ["tulips"])
        self.assertEqual(found[0], found[1])
        self.assertEqual((found[0][0], found[0][-1]), ("daisy", "tulips"))

    @needs_models
    def test_wordnet_ids_name_imagenets_classes(self):
        self.json("import", MODELS / "efficientnet_lite0/efficientnet-lite0-57934424.pth", "--arch",
                  "efficientnet_lite0", "--name", "lite0")
        report = self.json("eval", "lite0", "--folder", CASES / "labels/wnid")
        self.assertEqual(report["top1"], 0.5)
        self.assertEqual(int(report["images"]), 2)
        self.json("dataset", "create", "wnids", CASES / "labels/wnid", "--validation", "0")
        stored = self.json("eval", "lite0", "--dataset", "wnids")
        self.assertEqual(stored["top1"], 0.5)

    def logits_of(self, image, *more):
        return self.answer("pixels", image)[1]

    def test_images(self):
        self.caffe("pixels", "caffe_outputs/base.caffemodel", "caffe_outputs/base.prototxt")
        plain = self.logits_of(CASES / "png_metadata/00_plain.png")
        for file in sorted((CASES / "png_metadata").glob("x_*")):
            with self.subTest(file.name):
                self.assertEqual(self.logits_of(file), plain)
        good = [CASES / "images" / name for name in
                ("w.webp", "g.gif", "cmyk_adobe.jpg", "cmyk_noadobe.jpg", "rocket_exif6.jpg",
                 "b1.bmp", "b4.bmp", "b16_555.bmp", "rle8.bmp")]
        for file in good:
            with self.subTest(file.name):
                self.logits_of(file)
        bad = CASES / "images/bad.jpg"
        done = subprocess.run([end_to_end.ZOO, "classify", "pixels", good[0], bad, good[1]],
                              env=self.environment, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 1)
        self.assertIn("bad.jpg", done.stderr)
        for file in good[:2]:
            self.assertIn(file.name, done.stdout)

    @needs_models
    def test_pixels_as_pillow_has_them(self):
        self.json("import", MODELS / "cifar_resnet/resnet20-12fca82f.th", "--arch", "cifar_resnet20",
                  "--name", "pillow")
        both = [self.answer("pillow", CASES / f"images/cmyk_{kind}.jpg")[1]
                for kind in ("adobe", "noadobe")]
        self.assertEqual(*both)


if __name__ == "__main__":
    if not CASES.exists():
        print("skipped: ZOOD_CASES_DIR names no folder")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
