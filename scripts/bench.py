#!/usr/bin/env python3
"""What a step costs, each time beside the plain formulation, on the same work in one process.

    python scripts/bench.py text_encoder --classes 10 100 --cpu-time --markdown
    python scripts/bench.py step --towers MiniCLIP --context 4
    python scripts/bench.py peers --cpu-time --classes 100 --context 4
    python scripts/bench.py startup bank sweep

text_encoder  forward and backward of a context that all names share
image_tower   32 images through the image tower
step          a step of SHIP's generator, of CoOp and of CoOp + SHIP, 32 images
peers         these, CoCoOp, ProDA, CLIP-Adapter, Tip-Adapter-F and evaluation (each is a name of its own, too)
bank          a made-up feature bank of 10 thousand and of 1.25 million training images
startup       imports, and short runs by the launcher beside a process for each
sweep         Table 1, and methods that train no prompt, by the launcher beside a process for each (an hour)

Plain: all 77 positions of every prompt, synthetic features made batch by batch, texts encoded in every step and for
every batch, a cache's product with one-hot labels. `with images`: the ratio where the plain formulation also encodes
its 32 images in every step, which takes `images, s`. Of more than 100 names the plain formulation is measured on 100,
where its cost is proportional to them.
"""

import argparse
import sys
import time
from itertools import cycle, islice, product

import _path  # noqa: F401
import pandas
import torch
from lib.bench import bank, launches
from lib.bench.steps import AT_ONCE, IMAGES, PEERS, SAME, STEPS, TOWERS, Work
from torch.utils.benchmark import Measurement, Timer
from torch.utils.benchmark.utils.timer import timer as wall_time

from datasets.imagenet import CLASSNAMES, read_classnames

OTHERS = {"bank": bank.rows, "startup": launches.startup, "sweep": launches.sweep}
KINDS = {name: [name] for name in (*STEPS, *OTHERS)} | {"step": IMAGES, "peers": PEERS}
ROUNDS = 2  # of whose calls the median counts
NAMES = 100  # of the plain formulation, at most: 77 positions keep some 40 MB a name for the backward pass


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("kinds", nargs="+", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    add("--classes", type=int, nargs="+", default=[10, 100], metavar="N", help="names (10 100)")
    add("--context", type=int, nargs="+", default=[4, 16], metavar="N", help="tokens (4 16)")
    add("--towers", nargs="+", default=list(TOWERS), choices=TOWERS, help="default: both")
    add("--cpu-time", action="store_true", help="seconds of one CPU thread: where others compute too")
    add("--markdown", action="store_true", help="tables in Markdown")
    return parser.parse_args(argv)


def class_names(count):
    """`count` of ImageNet's 1,000 class names, evenly spaced; above 1,000 they repeat."""
    names = [*read_classnames(CLASSNAMES).values()]
    return list(islice(cycle(names[:: max(1, len(names) // count)]), count))


def seconds(is_cpu_time, *steps):
    """Median seconds of each of the functions `steps`. They take turns, so that a busy spell hits them all."""
    setting = {"timer": time.process_time if is_cpu_time else wall_time, "num_threads": torch.get_num_threads()}
    timers = [Timer("step()", globals={"step": step}, **setting) for step in steps]
    rounds = [[timer.blocked_autorange() for timer in timers] for _ in range(ROUNDS)]
    return [Measurement.merge(measured)[0].median for measured in zip(*rounds, strict=True)]


def measure(kind, tower, device, arguments):
    """The rows of one benchmark on one tower."""
    backbone = TOWERS[tower]().to(device)
    cases = product(arguments.classes, arguments.context)
    for count, n_ctx in islice(cases, 1) if kind == "image_tower" else cases:  # images have no names
        few = count if kind in SAME else min(count, NAMES)
        works = Work(backbone, class_names(count), n_ctx), Work(backbone, class_names(few), n_ctx, is_plain=True)
        ours, theirs = seconds(arguments.cpu_time, *(getattr(work, kind)() for work in works))
        ours, theirs = ours / (AT_ONCE if kind == "coop_ship" else 1), theirs * count / few
        row = {"tower": tower, "names": count, "context": n_ctx, "plain, s": theirs, "ours, s": ours}
        row["ratio"] = theirs / ours
        if kind in IMAGES:
            (images,) = seconds(arguments.cpu_time, works[0].images())
            row |= {"images, s": images, "with images": (theirs + images) / ours}
        print(f"{kind}: {row}", file=sys.stderr)
        yield row


def main(argv=None):
    arguments = parse_arguments(argv)
    if arguments.cpu_time:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() and not arguments.cpu_time else "cpu"
    unit = "CPU" if arguments.cpu_time else "wall"
    print(f"{device}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, {unit} seconds")
    for kind in dict.fromkeys(kind for name in arguments.kinds for kind in KINDS[name]):
        if kind in OTHERS:
            rows = OTHERS[kind]()
        else:
            rows = [row for tower in arguments.towers for row in measure(kind, tower, device, arguments)]
        form = "github" if arguments.markdown else "simple"
        text = pandas.DataFrame(rows).to_markdown(index=False, tablefmt=form, floatfmt=".3g")
        print(f"\n{kind}\n\n{text}", flush=True)


if __name__ == "__main__":
    main()
