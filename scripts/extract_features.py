"""Makes a feature bank of a dataset: every image encoded once, in one safetensors file that trains without the images.

    python scripts/extract_features.py --root DATA --dataset caltech101 --backbone MiniCLIP --out
    caltech101_miniclip.safetensors

Training images get --views random views each (with --only-drawn, those that some seed draws; one view elsewhere),
validation and test images the plain view. An interrupted extraction goes on where it stopped; `torchrun
--nproc-per-node N scripts/extract_features.py ...` shares the work.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import _path  # noqa: F401
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from dassl.utils import UserError, set_random_seed
from lib.faults import say_errors

import datasets  # noqa: F401
import trainers
from trainers.core.features.bank import write_bank
from trainers.core.features.extraction import ImageStore
from trainers.core.features.workers import rank_and_world
from trainers.core.files import one_at_a_time, put
from trainers.core.model.backbone import apply_preprocessing, load_backbone

ROOT = Path(__file__).resolve().parent.parent


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds the dataset, as for train.py")
    parser.add_argument("--dataset", required=True, help="its config: a file, or a name in configs/datasets/")
    parser.add_argument("--backbone", default="MiniCLIP")
    parser.add_argument("--out", required=True, help="the bank to write")
    parser.add_argument(
        "--views", type=int, default=4, help="random views of a training image (scale 0.5 to 1, flipped or not)"
    )
    parser.add_argument(
        "--only-drawn",
        action="store_true",
        help="--views only for images drawn by --seeds at --shots, one view elsewhere",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--workers", type=int, default=2, help="processes that read images")
    parser.add_argument("--note", default="", help="kept in the header: source, licence, whether reduced")
    return parser.parse_args(argv)


def configure(args):
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    config = ROOT / "configs" / "datasets" / f"{args.dataset}.yaml"
    cfg.merge_from_file(str(config) if config.exists() else args.dataset)
    cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS = args.root, -1
    cfg.MODEL.BACKBONE.NAME, cfg.DATALOADER.NUM_WORKERS = args.backbone, args.workers
    cfg.FEATURES.VIEWS, cfg.FEATURES.DIR = args.views, f"{args.out}.work"
    cfg.INPUT.TRANSFORMS, cfg.INPUT.RRCROP_SCALE = ("random_resized_crop", "random_flip", "normalize"), (0.5, 1.0)
    return cfg


def drawn(cfg, seeds, shots):
    """Paths of the training images that few-shot sampling draws for any of `seeds` at any of `shots`."""
    found = set()
    for seed in seeds:
        for k in shots:
            cfg.SEED, cfg.DATASET.NUM_SHOTS = seed, k
            set_random_seed(seed)
            found |= {item.impath for item in build_dataset(cfg).train_x}
    cfg.DATASET.NUM_SHOTS = -1
    return found


def training_views(store, items, many):
    """Features [R, d] and offsets [N + 1] of the training images, in order: --views each for `many`, one for the
    others."""
    files = [item.impath for item in items]
    groups = [[f for f in files if f in many], [f for f in files if f not in many]]
    tables = [
        store.table(group, views) if group else None for group, views in zip(groups, (store.cfg.FEATURES.VIEWS, 1))
    ]
    features, counts = [], [0]
    for file in files:
        table = tables[0 if file in many else 1]
        row = table.row[store.relative(file)]
        features.append(table.features[table.offsets[row] : table.offsets[row + 1]])
        counts.append(len(features[-1]))
    return torch.cat(features), torch.tensor(counts).cumsum(0)


def main(argv=None):
    args = parse_args(argv)
    if os.path.isdir(args.out):
        raise UserError(f"--out {args.out} is a folder; expected the name of the bank to write")
    rank, world = rank_and_world()
    with one_at_a_time(f"{args.out}.lock{rank}", f"another process is making {args.out}; waiting for it"):
        if world > 1:
            meet()
        make(args, rank)
        if world > 1:
            torch.distributed.barrier()  # rank 0 removes what the others have still to read
            torch.distributed.destroy_process_group()
        if rank == 0:
            shutil.rmtree(f"{args.out}.work", ignore_errors=True)  # what an interrupted extraction continues from


def meet():
    """Waits until every process of torchrun has come so far."""
    try:
        torch.distributed.init_process_group("gloo")
    except ValueError as error:
        raise UserError(f"expected the variables that torchrun sets, or no WORLD_SIZE: {error}") from None


def make(args, rank):
    """Encodes this process's share; rank 0 writes the bank."""
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
    cfg = configure(args)
    backbone = load_backbone(cfg, device=device)
    apply_preprocessing(cfg, backbone)
    dataset = build_dataset(cfg)
    store = ImageStore(cfg, backbone, dataset.image_dir, cfg.FEATURES.VIEWS)
    files = {item.impath for item in dataset.train_x}
    tensors = {}
    tensors["train.features"], tensors["train.offsets"] = training_views(
        store, dataset.train_x, drawn(cfg, args.seeds, args.shots) if args.only_drawn else files
    )
    splits = {"train": dataset.train_x, "val": dataset.val or [], "test": dataset.test}
    for name in ("val", "test"):
        table = store.table([item.impath for item in splits[name]], 0)
        tensors[f"{name}.features"] = table.features
        if table.unreadable:  # else an image has one row
            tensors[f"{name}.offsets"] = table.offsets
    if rank:
        return
    classnames = dataset.lab2cname
    metadata = {
        "dataset": cfg.DATASET.NAME,
        "backbone": backbone.name,
        "backbone_hash": backbone.weights_hash,
        "split": json.dumps(
            {k: [[store.relative(i.impath), i.label, classnames[i.label]] for i in v] for k, v in splits.items()}
        ),
        "preprocess": json.dumps(
            {
                "size": cfg.INPUT.SIZE,
                "interpolation": cfg.INPUT.INTERPOLATION,
                "mean": cfg.INPUT.PIXEL_MEAN,
                "std": cfg.INPUT.PIXEL_STD,
            }
        ),
        "transforms": json.dumps({"transforms": cfg.INPUT.TRANSFORMS, "rrcrop_scale": cfg.INPUT.RRCROP_SCALE}),
        "views": str(args.views),
        "features_seed": str(cfg.FEATURES.SEED),
        "note": args.note,
    }
    made = os.path.join(cfg.FEATURES.DIR, "bank.safetensors")  # what a kill leaves of it goes with the folder
    write_bank(made, tensors, metadata)
    put(made, args.out)
    rows, size = sum(len(v) for k, v in tensors.items() if k.endswith("features")), os.path.getsize(args.out)
    print(
        f"{args.out}: {len(splits['train'])} training, {len(splits['val'])} validation, {len(splits['test'])} test "
        f"images, {rows} rows, {size / 2**20:.1f} MB"
    )


if __name__ == "__main__":
    say_errors(main)
