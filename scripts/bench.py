"""Benchmarks, each measured against its plain counterpart in one run.

    python scripts/bench.py [NAME ...] [--quick] [--markdown] [--cpu-time]

text_encoder: forward + backward of the fast text encoder against the backbone's own 77-token path, for a learned
context that all classes share. Both compute the same features and context gradients; the last column says how far the
gradients agree. A new benchmark is a function of (quick, clock) that yields dicts, its table's rows, added to
BENCHMARKS.
"""

import argparse
import os
import platform
import statistics
import sys
import time

import _path  # noqa: F401
import torch
from dassl.config import get_cfg_default
from tabulate import tabulate

from trainers.core.model.backbone import Backbone, load_backbone
from trainers.core.model.openai_clip import PIXEL_MEAN, PIXEL_STD, import_clip
from trainers.core.model.prompts import ClassTokens, assemble
from trainers.core.model.text_encoder import TextEncoder

CHUNK = 100  # names a time on the plain path, which needs some 40 MB a name at 12 layers
ADJECTIVES = "red tiny old striped wooden wild common electric mountain sea".split()
NOUNS = (
    "dog sparrow airplane chair sunflower bridge lamp guitar turtle castle leopard cup tractor violin "
    "pagoda beaver crab dolphin umbrella camera barrel cannon anchor bonsai brain buddha ewer ferry flamingo "
    "garfield"
).split()


def class_names(count):
    """`count` different names of one to three words: 10 short ones, 100 of two words on average, 1000 of 2.6."""
    pairs = [f"{first} {second} " for first in ADJECTIVES for second in ADJECTIVES if first != second]
    before = [""] + [words for both in zip(ADJECTIVES, pairs, strict=False) for words in (f"{both[0]} ", both[1])]
    before += pairs[len(ADJECTIVES) :]
    return [words + noun for words in before for noun in NOUNS][:count]


def seconds(*steps, repeats, clock):
    """Median seconds of each step, without the first of several. They take turns: a busy spell hits them all."""
    times = [[] for _ in steps]
    for _ in range(repeats):
        for step, taken in zip(steps, times, strict=True):
            start = clock()
            step()
            taken.append(clock() - start)
    return [statistics.median(taken[1:] or taken) for taken in times]


def random_clip():
    """The shape of ViT-B/16's text tower (12 layers, width 512, 8 heads, d = 512) beside a trivial image tower."""
    vision = {"image_resolution": 32, "vision_layers": 1, "vision_width": 64, "vision_patch_size": 32}
    text = {"transformer_width": 512, "transformer_heads": 8, "transformer_layers": 12}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = import_clip().model.CLIP(embed_dim=512, context_length=77, vocab_size=49408, **vision, **text)
    return Backbone(clip, "random", "", PIXEL_MEAN, PIXEL_STD, vision["image_resolution"])


def text_encoder(quick, clock):
    """Rows: tower, names, context length, seconds of both paths, their ratio, relative difference of the gradients."""
    cfg = get_cfg_default()
    cfg.MODEL.BACKBONE.NAME = "MiniCLIP"
    towers = {
        "12 layers, width 512 (random)": random_clip,
        "MiniCLIP (4 layers, width 256)": lambda: load_backbone(cfg),
    }
    counts = [(10, 4), (10, 16), (100, 4), (100, 16)] + ([] if quick else [(1000, 4), (1000, 16)])
    for tower, make in towers.items():
        backbone = make()
        for count, n_ctx in counts:
            yield {"text tower": tower, **measure_text_encoder(backbone, count, n_ctx, 3 if quick else 6, clock)}


def measure_text_encoder(backbone, count, n_ctx, repeats, clock):
    """One row of the table; `clock` gives seconds."""
    tokens = ClassTokens(class_names(count), backbone, n_ctx)
    torch.manual_seed(0)
    ctx = (0.02 * torch.randn(n_ctx, backbone.width)).requires_grad_()
    direction = torch.randn(count, backbone.embed_dim)  # any loss will do: the features' product with it
    encoder = TextEncoder(backbone)

    def fast():
        ctx.grad = None
        (encoder(*assemble(tokens, ctx)) * direction).sum().backward()

    def plain():
        ctx.grad = None
        for rows in torch.arange(count).split(CHUNK):
            body, eot, start = assemble(tokens, ctx, index=rows)
            padding = backbone.token_embedding.weight[:1].expand(len(rows), backbone.context_length, -1)
            prompts = torch.cat([start.expand(len(rows), -1, -1), body, padding], 1)[:, : backbone.context_length]
            (backbone.encode_prompts_plain(prompts, eot) * direction[rows]).sum().backward()

    fast()
    fast_grad = ctx.grad.clone()
    fast_seconds, plain_seconds = seconds(fast, plain, repeats=repeats if count <= CHUNK else 1, clock=clock)
    return {
        "names": f"{count}" + (f" (plain: chunks of {CHUNK})" if count > CHUNK else ""),
        "context": n_ctx,
        "plain, s": f"{plain_seconds:.3f}",
        "ours, s": f"{fast_seconds:.4f}",
        "ratio": f"{plain_seconds / fast_seconds:.1f}x",
        "gradient differs by": f"{((fast_grad - ctx.grad).norm() / ctx.grad.norm()).item():.0e}",
    }


BENCHMARKS = {"text_encoder": text_encoder}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer repeats and sizes")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="one thread, and CPU seconds instead of wall time: for a machine that others use too",
    )
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]}; known: {', '.join(BENCHMARKS)}")
    if args.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if args.cpu_time else time.perf_counter
    print(
        f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads on {os.cpu_count()} cores "
        f"({platform.machine()}), load {os.getloadavg()[0]:.1f}; "
        f"medians of {'CPU' if args.cpu_time else 'wall'} seconds"
    )
    for name in args.names or BENCHMARKS:
        rows = []
        for row in BENCHMARKS[name](args.quick, clock):
            rows.append(row)
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()), file=sys.stderr)
        print(f"\n{name}\n")
        print(tabulate(rows, headers="keys", tablefmt="github" if args.markdown else "simple", disable_numparse=True))


if __name__ == "__main__":
    main()
