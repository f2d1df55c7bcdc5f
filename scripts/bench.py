#!/usr/bin/env python3
"""What a step costs, each time beside the plain formulation, on the same work in one run.

    python scripts/bench.py --quick                       about a minute: MiniCLIP, 10 and 100 names
    python scripts/bench.py --markdown --json all.json --chart cost.png     all of it: an hour or two on a CPU
    python scripts/bench.py coop --towers ViT-B/16 --classes 100 --context 16

Plain: all 77 positions of every prompt, synthetic features made batch by batch, images encoded in every step.
floor: the multiply-adds of our step, counted from the shapes of its products, over the rate of a matrix product that
is measured beside it; reached: what share of the step's time that is.

text_encoder  forward and backward of a context that all names share
generator     a step of SHIP's VAE, 32 images
coop          a step of CoOp, 32 images
coop_ship     a step of CoOp + SHIP, 32 images and 32 synthetic features of the label-only half of the names
memory        peak of a CoOp step, in a process of its own; with --chunk names at a time, and plain
run           CoOp and CoOp + SHIP on the shipped Caltech101 features, whole, at equal epochs

~ before a number: the plain formulation was measured on 100 of the names, to which its cost is proportional."""

import argparse
import json
import os
import platform
import sys

import _path  # noqa: F401
import torch
from lib.bench import measure, peak, tables, whole
from lib.bench.clock import Clock
from lib.bench.steps import STEPS
from lib.bench.towers import TOWERS

NAMES = (*STEPS, "memory", "run")


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)} (default: all)")
    parser.add_argument("--classes", type=int, nargs="+", default=[], metavar="N", help="10 50 100 500 1000")
    parser.add_argument("--context", type=int, nargs="+", default=[], metavar="N", help="tokens: 4 16")
    parser.add_argument("--towers", nargs="+", default=[], choices=TOWERS, help="default: both")
    parser.add_argument("--chunk", type=int, default=100, metavar="N", help="names at a time, of `memory` (100)")
    parser.add_argument("--epochs", type=int, default=0, metavar="N", help="of `run` (default: 50)")
    parser.add_argument("--repeats", type=int, default=0, metavar="N", help="whose median counts (default: 3)")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repeats: about a minute")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds of one thread: where others compute too")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    parser.add_argument("--json", default="", metavar="FILE", help="all numbers, with hardware and versions")
    parser.add_argument("--chart", default="", metavar="FILE", help="a PNG: cost against names")
    found = parser.parse_args(argv)
    unknown = [name for name in found.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]}; known: {', '.join(NAMES)}")
    full = not found.quick
    found.names = found.names or list(NAMES)
    found.classes = found.classes or ([10, 50, 100, 500, 1000] if full else [10, 100])
    found.context = found.context or ([4, 16] if full else [4])
    found.towers = found.towers or (list(TOWERS) if full else ["MiniCLIP"])
    found.repeats, found.epochs = found.repeats or (3 if full else 1), found.epochs or (50 if full else 1)
    return found


def machine(arguments) -> dict:
    """What the numbers were measured on and with."""
    cuda = arguments.device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "seconds": "CPU" if arguments.cpu_time else "wall",
        "repeats": arguments.repeats,
    }


def of_steps(arguments):
    """{benchmark: its rows}; a tower is built once."""
    found = {name: [] for name in arguments.names if name in STEPS}
    clock = Clock(torch.device(arguments.device), arguments.cpu_time)
    for tower in arguments.towers if found else ():
        backbone = TOWERS[tower]().to(arguments.device)
        image_seconds = measure.images(backbone, clock, arguments.repeats)
        for name, rows in found.items():
            for names in arguments.classes:
                for n_ctx in arguments.context:
                    row = measure.step(name, backbone, names, n_ctx, clock, arguments.repeats, image_seconds)
                    rows.append({"tower": tower, **row})
                    print(f"{name}: {tables.shown(rows[-1])}", file=sys.stderr)
    return found


def of_memory(arguments):
    return [
        {
            "tower": tower,
            "names": names,
            "context": n_ctx,
            "ours, MB": peak.peak(tower, names, n_ctx, names, "ours", arguments.device),
            f"ours, {arguments.chunk} at a time, MB": peak.peak(
                tower, names, n_ctx, arguments.chunk, "ours", arguments.device
            ),
            "plain, MB": peak.peak(tower, names, n_ctx, 0, "plain", arguments.device) if names <= 100 else None,
        }
        for tower in arguments.towers
        for names in arguments.classes
        for n_ctx in arguments.context
    ]


def main(argv=None):
    arguments = parse_arguments(argv)
    if arguments.cpu_time:
        torch.set_num_threads(1)
    about = machine(arguments)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    found = of_steps(arguments)
    if "memory" in arguments.names:
        found["memory"] = of_memory(arguments)
    if "run" in arguments.names:
        found["run"] = whole.runs(arguments.epochs)
    for name, rows in found.items():
        print(f"\n{name}\n\n{tables.table(rows, arguments.markdown)}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"machine": about, "command": sys.argv[1:] if argv is None else argv, **found}, file, indent=1)
    if arguments.chart:
        tables.chart(found, arguments.chart)


if __name__ == "__main__":
    main()
