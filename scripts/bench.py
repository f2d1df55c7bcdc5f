#!/usr/bin/env python3
"""What a step costs, each time beside the plain formulation, on the same work in one process.

    python scripts/bench.py text_encoder --classes 10 100 --cpu-time --markdown
    python scripts/bench.py step --towers MiniCLIP --context 4 --chart cost.png
    python scripts/bench.py peers --cpu-time --classes 100 --context 4
    python scripts/bench.py bank

text_encoder  forward and backward of a context that all names share
image_tower   32 images through the image tower
step          a step of SHIP's generator, of CoOp and of CoOp + SHIP, 32 images
peers         these, CoCoOp, ProDA, CLIP-Adapter, Tip-Adapter-F and evaluation (each is a name of its own, too)
bank          a made-up feature bank of 10 thousand and of 1.25 million training images
startup       imports, and short runs in one worker beside a process for each

Plain: all 77 positions of every prompt, synthetic features made batch by batch, texts encoded in every step and for
every batch, a cache's product with one-hot labels. `with images`: the ratio where the plain formulation also encodes
its 32 images in every step, which takes `images, s`. Of more than 100 names the plain formulation is measured on 100,
where its cost is proportional to them.
"""

import argparse
import os
import platform
import sys
import time
from itertools import cycle, islice, product

import _path
import pandas
import torch
from lib.bench import bank, plain, startup
from lib.bench.steps import BATCH, BY_NAMES, OURS, PEERS, PLAIN, STEPS
from lib.bench.towers import TOWERS
from torch.utils.benchmark import Measurement, Timer
from torch.utils.benchmark.utils.timer import timer as wall_time

IMAGES = ["generator", "coop", "coop_ship"]  # where published code encodes images in every step
KINDS = {name: [name] for name in (*STEPS, "bank", "startup")}
KINDS |= {"step": IMAGES, "peers": [step.__name__ for step in PEERS]}


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("kinds", nargs="+", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    add("--classes", type=int, nargs="+", default=[10, 100], metavar="N", help="names (10 100)")
    add("--context", type=int, nargs="+", default=[4, 16], metavar="N", help="tokens (4 16)")
    add("--towers", nargs="+", default=list(TOWERS), choices=TOWERS, help="default: both")
    add("--repeats", type=int, default=2, metavar="N", help="rounds, of whose calls the median counts (2)")
    add("--cpu-time", action="store_true", help="seconds of one CPU thread: where others compute too")
    add("--markdown", action="store_true", help="tables in Markdown")
    add("--chart", default="", metavar="FILE", help="a PNG: seconds of a step against names")
    return parser.parse_args(argv)


def class_names(count):
    """`count` of ImageNet's 1,000 class names, evenly spaced; above 1,000 they repeat."""
    with open(os.path.join(_path.ROOT, "datasets", "imagenet_classnames.txt"), encoding="utf-8") as file:
        names = [line.strip().split(" ", 1)[1] for line in file]
    return list(islice(cycle(names[:: max(1, len(names) // count)]), count))


def seconds(arguments, *steps):
    """Median seconds of each of the functions `steps`. They take turns, so that a busy spell hits them all."""
    clock = time.process_time if arguments.cpu_time else wall_time
    setting = {"timer": clock, "num_threads": torch.get_num_threads()}
    timers = [Timer("step()", globals={"step": step}, **setting) for step in steps]
    rounds = [[timer.blocked_autorange() for timer in timers] for _ in range(arguments.repeats)]
    return [Measurement.merge(measured)[0].median for measured in zip(*rounds, strict=True)]


def measure(kind, tower, device, arguments):
    """The rows of one benchmark on one tower."""
    backbone = TOWERS[tower]().to(device)
    images = torch.randn(BATCH, 3, *[backbone.input_size] * 2, device=device, dtype=backbone.dtype)
    encode = torch.no_grad()(lambda: backbone.encode_image(images))
    image_seconds = seconds(arguments, encode)[0] if kind in IMAGES else 0.0
    for count, n_ctx in product(arguments.classes, arguments.context):
        few = min(count, plain.NAMES) if kind in BY_NAMES else count
        our_step, our_count = STEPS[kind](OURS, backbone, class_names(count), n_ctx)
        plain_step, _ = STEPS[kind](PLAIN, backbone, class_names(few), n_ctx)
        ours, theirs = seconds(arguments, our_step, plain_step)
        ours, theirs = ours / our_count, theirs * count / few
        row = {"tower": tower, "names": count, "context": n_ctx, "plain, s": theirs, "ours, s": ours}
        row["ratio"] = theirs / ours
        if kind in IMAGES:
            row |= {"images, s": image_seconds, "with images": (theirs + image_seconds) / ours}
        print(f"{kind}: {row}", file=sys.stderr)
        yield row


def chart(tables, path):
    """A panel per benchmark: seconds of a step against names."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(tables), figsize=(5 * len(tables), 4), squeeze=False, layout="constrained")
    for axis, (kind, table) in zip(axes[0], tables.items(), strict=True):
        table = table.pivot(index="names", columns=["tower", "context"], values=["plain, s", "ours, s"])
        table.plot(ax=axis, title=kind, loglog=True, marker=".", ylabel="seconds of a step").legend(fontsize=6)
    figure.savefig(path, dpi=130)


def main(argv=None):
    arguments = parse_arguments(argv)
    if arguments.cpu_time:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() and not arguments.cpu_time else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {platform.machine()}"
    threads, unit = torch.get_num_threads(), "CPU" if arguments.cpu_time else "wall"
    print(f"{name}, {threads} threads, load {os.getloadavg()[0]:.1f}, PyTorch {torch.__version__}, {unit} seconds")
    tables = {}
    for kind in dict.fromkeys(kind for name in arguments.kinds for kind in KINDS[name] if kind in STEPS):
        rows = [row for tower in arguments.towers for row in measure(kind, tower, device, arguments)]
        tables[kind] = pandas.DataFrame(rows)
    if arguments.chart and tables:
        chart(tables, arguments.chart)
    if "bank" in arguments.kinds:
        tables["bank"] = pandas.DataFrame(bank.rows([10_000, 1_250_000]))
    if "startup" in arguments.kinds:
        tables["startup"] = pandas.DataFrame(startup.rows(arguments.repeats))
    form = "github" if arguments.markdown else "simple"
    for kind, table in tables.items():
        print(f"\n{kind}\n\n{table.dropna(axis=1).to_markdown(index=False, tablefmt=form, floatfmt='.3g')}")


if __name__ == "__main__":
    main()
