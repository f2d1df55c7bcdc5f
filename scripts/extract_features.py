"""Makes a feature bank of a dataset: every image encoded once, in one safetensors file that trains without the images.

    python scripts/extract_features.py --root DATA --dataset caltech101 --backbone MiniCLIP --out caltech101.safetensors

Training images get --views random views each, validation and test images the plain view; with --only-drawn, training
images that no few-shot draw of seeds 1 to 3 takes get one random view. An interrupted extraction goes on where it
stopped; `torchrun --nproc-per-node N scripts/extract_features.py ...` shares the work.
"""

import argparse
import json
import os
import shutil
from datetime import timedelta
from itertools import product
from pathlib import Path

import _path
import torch
import torch.distributed as dist
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from lib.faults import say_errors

import datasets  # noqa: F401  (registers the readers)
import trainers
from datasets.core.fewshot import LISTED_SHOTS
from trainers.core.bank import write_bank
from trainers.core.data import FeatureTable, rows_of
from trainers.core.extraction import ImageStore, barrier
from trainers.core.files import UserError
from trainers.core.model.backbone import apply_preprocessing, load_backbone

SEEDS = (1, 2, 3)  # whose few-shot draws have all views with --only-drawn
WAIT = timedelta(days=7)  # one process may have much more to encode than another


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--root", required=True, help="folder that holds the dataset, as for train.py")
    add("--dataset", required=True, help="its config: a file, or a name in configs/datasets/")
    add("--backbone", default="MiniCLIP")
    add("--out", required=True, help="the bank to write")
    add("--views", type=int, default=4, help="random views of a training image (scale 0.5 to 1, flipped or not)")
    add("--only-drawn", action="store_true", help="one view of images that no few-shot draw of seeds 1 to 3 takes")
    add("--workers", type=int, default=2, help="processes that read images")
    add("--note", default="", help="kept in the header: source, licence, whether reduced")
    return parser.parse_args(argv)


def configure(args):
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    named = Path(_path.ROOT, "configs", "datasets", f"{args.dataset}.yaml")
    cfg.merge_from_file(str(named) if named.exists() else args.dataset)
    cfg.MODEL.BACKBONE.NAME = args.backbone
    cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.DATALOADER.NUM_WORKERS = args.root, -1, args.workers
    cfg.FEATURES.VIEWS, cfg.FEATURES.DIR = args.views, f"{args.out}.work"  # what an interrupted one continues from
    cfg.INPUT.TRANSFORMS, cfg.INPUT.RRCROP_SCALE = ("random_resized_crop", "random_flip", "normalize"), (0.5, 1.0)
    return cfg


def training_table(args, cfg, store, files):
    """FeatureTable of the training images, with as many views of each as the options ask for."""
    if not args.only_drawn:
        return store.table(files, args.views)
    cfg, drawn = cfg.clone(), set()
    cfg.defrost()
    for cfg.SEED, cfg.DATASET.NUM_SHOTS in product(SEEDS, LISTED_SHOTS):
        drawn |= {item.impath for item in build_dataset(cfg).train_x}
    groups = [[file for file in files if file in drawn], [file for file in files if file not in drawn]]
    table = FeatureTable.join([store.table(group, views) for group, views in zip(groups, (args.views, 1))])
    place = table.find(map(store.relative, files))
    rows, offsets = rows_of(table.offsets, torch.tensor([place[store.relative(file)] for file in files]))
    return FeatureTable(table.features[rows], offsets, files)


def main(argv=None):
    args = parse_args(argv)
    if os.path.isdir(args.out):
        raise UserError(f"--out {args.out} is a folder; expected the name of the bank to write")
    if "WORLD_SIZE" in os.environ:  # of torchrun
        dist.init_process_group("gloo", timeout=WAIT)
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
    cfg = configure(args)
    backbone = load_backbone(cfg, device=device)
    apply_preprocessing(cfg, backbone)
    dataset = build_dataset(cfg)
    store, names, given = ImageStore(cfg, backbone, dataset.image_dir), dataset.lab2cname, cfg.INPUT
    tensors, split = {}, {}
    for part, items in (("train", dataset.train_x), ("val", dataset.val or []), ("test", dataset.test)):
        files = [item.impath for item in items]
        table = training_table(args, cfg, store, files) if part == "train" else store.table(files, 0)
        tensors |= {f"{part}.features": table.features, f"{part}.offsets": table.offsets}
        split[part] = [[store.relative(item.impath), item.label, names[item.label]] for item in items]
    barrier()  # rank 0 removes what the others have still to read
    if os.environ.get("RANK", "0") == "0":
        preprocess = {"size": given.SIZE, "interpolation": given.INTERPOLATION}
        preprocess |= {"mean": given.PIXEL_MEAN, "std": given.PIXEL_STD}
        header = {
            "dataset": cfg.DATASET.NAME,
            "backbone": backbone.name,
            "backbone_hash": backbone.weights_hash,
            "split": split,
            "split_hash": dataset.split_hash,
            "preprocess": json.dumps(preprocess),
            "transforms": json.dumps({"transforms": given.TRANSFORMS, "rrcrop_scale": given.RRCROP_SCALE}),
            "views": str(args.views),
            "features_seed": str(cfg.FEATURES.SEED),
            "note": args.note,
        }
        write_bank(args.out, tensors, header)
        images = ", ".join(f"{len(items)} {part}" for part, items in split.items())
        print(f"{args.out}: images: {images}; {os.path.getsize(args.out) / 2**20:.1f} MB")
        shutil.rmtree(cfg.FEATURES.DIR)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    say_errors(main)
