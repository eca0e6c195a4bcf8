#!/usr/bin/env python3
"""Two builds on the same work, taking turns: how many times as long the second takes.

usage: before_after.py BEFORE AFTER [--rounds N] [--only TEXT]

BEFORE and AFTER are build folders (build/dev) of two revisions, both with the programs of bench/.
Inference of ResNet-50, VGG-16 and Inception-ResNet-v2, one image and eight, and a training step of
ResNet-50. Each round runs the one, then the other, in changing order; what counts is the fastest of
all rounds. Run it on an idle machine.
"""
import argparse
import pathlib
import subprocess

WORK = {  # name: (program, arguments); the last word of the last line is milliseconds
    "resnet_v1_50, 1": ("inference", ["30", "resnet_v1_50:1"]),
    "resnet_v1_50, 8": ("inference", ["6", "resnet_v1_50:8"]),
    "vgg_16, 1": ("inference", ["8", "vgg_16:1"]),
    "vgg_16, 8": ("inference", ["2", "vgg_16:8"]),
    "inception_resnet_v2, 1": ("inference", ["10", "inception_resnet_v2:1"]),
    "inception_resnet_v2, 8": ("inference", ["2", "inception_resnet_v2:8"]),
    "resnet_v1_50, training step of 8": ("train_step", ["resnet_v1_50", "8", "0", "3"]),
}


def milliseconds(build, program, arguments):
    command = [build / "bench" / program, *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(printed.split()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=pathlib.Path)
    parser.add_argument("after", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="work whose name holds this text")
    options = parser.parse_args()
    print(f"{'':34}{'before':>10}{'after':>10}{'ratio':>8}   ms, fastest of {options.rounds} rounds")
    for name, (program, arguments) in WORK.items():
        if options.only not in name:
            continue
        fastest = {options.before: float("inf"), options.after: float("inf")}
        for turn in range(options.rounds):
            for build in sorted(fastest, reverse=turn % 2 == 1, key=str):
                fastest[build] = min(fastest[build], milliseconds(build, program, arguments))
        before, after = fastest[options.before], fastest[options.after]
        print(f"{name:34}{before:10.2f}{after:10.2f}{after / before:8.3f}", flush=True)


if __name__ == "__main__":
    main()
