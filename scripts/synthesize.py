"""Exports what SHIP made of class names, for methods outside this code: synthetic features, and the final class weights
of the run.

    python scripts/synthesize.py output/.../CoOp_SHIP/miniclip/seed1 --per-class 64 --out synthetic.safetensors

The file holds `features` [N, d] (unit norm), `labels` [N], and, where the method classifies by the cosine with one
vector per class, `class_weights` [C, d] over all of the run's classes; its header holds the class names (JSON), the
logit scale, the backbone and its hash. Read it with safetensors.safe_open.
"""

import argparse
import json

import _path  # noqa: F401
import torch
from lib.console import at_least, ship_of
from lib.faults import say_errors
from safetensors.torch import save

from trainers import open_run
from trainers.core.files import replacing
from trainers.core.randomness import seed_all


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="output folder of a finished run of a trainer with SHIP")
    parser.add_argument("--out", required=True, help="the safetensors file to write")
    parser.add_argument("--per-class", type=at_least(1), default=16, help="synthetic features of each class")
    parser.add_argument("--seed", type=int, default=0, help="of the latents")
    return parser.parse_args(argv)


@torch.no_grad()
def main(argv=None):
    args = parse_args(argv)
    trainer = open_run(args.run)
    names, head = trainer.trained_classnames, trainer.head.eval()
    synthesizer = ship_of(trainer).over(names)
    seed_all(args.seed, "export")
    synthetic = synthesizer.balanced(args.per_class)
    tensors = {"features": synthetic.features, "labels": synthetic.labels}
    weights = head.class_weights() if hasattr(head, "class_weights") else None
    if weights is not None:
        tensors["class_weights"] = weights.float()
    else:
        print(f"{trainer.cfg.TRAINER.NAME} does not classify by one vector per class: no class_weights in the file")
    header = {
        "classnames": json.dumps(names),
        "backbone": trainer.backbone.name,
        "backbone_hash": trainer.backbone.weights_hash,
        "logit_scale": str(trainer.backbone.logit_scale.exp().item()),
    }
    with replacing(args.out) as part:
        part.write_bytes(save({name: value.contiguous() for name, value in tensors.items()}, header))
    shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    print(f"wrote {args.out}: {shapes}")


if __name__ == "__main__":
    say_errors(main)
