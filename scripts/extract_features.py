"""Makes a feature bank of a dataset: every image encoded once, in one safetensors file that trains without the images.

    python scripts/extract_features.py --root DATA --dataset caltech101 --backbone MiniCLIP --out caltech101.safetensors

Training images get --views random views each, validation and test images the plain view; with --only-drawn, training
images that no few-shot draw of --seeds at --shots takes get one view. An interrupted extraction
goes on where it stopped; `torchrun --nproc-per-node N scripts/extract_features.py ...` shares the work.
"""

import argparse
import json
import os
import shutil
from itertools import product
from pathlib import Path

import _path
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset
from dassl.utils import set_random_seed
from lib.faults import say_errors

import datasets  # noqa: F401  (registers the readers)
import trainers
from trainers.core.bank import write_bank
from trainers.core.data import FeatureTable
from trainers.core.extraction import ImageStore
from trainers.core.files import UserError, locked
from trainers.core.model.backbone import apply_preprocessing, load_backbone
from trainers.core.workers import rank_and_world


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--root", required=True, help="folder that holds the dataset, as for train.py")
    add("--dataset", required=True, help="its config: a file, or a name in configs/datasets/")
    add("--backbone", default="MiniCLIP")
    add("--out", required=True, help="the bank to write")
    add("--views", type=int, default=4, help="random views of a training image (scale 0.5 to 1, flipped or not)")
    add("--only-drawn", action="store_true", help="--views for images of the few-shot draws only, one view elsewhere")
    add("--seeds", type=int, nargs="+", default=[1, 2, 3])
    add("--shots", type=int, nargs="+", default=[1, 2, 4, 8, 16])
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
    cfg.FEATURES.VIEWS, cfg.FEATURES.DIR = args.views, f"{args.out}.work"
    cfg.INPUT.TRANSFORMS, cfg.INPUT.RRCROP_SCALE = ("random_resized_crop", "random_flip", "normalize"), (0.5, 1.0)
    return cfg


def training_table(args, cfg, store, files):
    """FeatureTable of the training images, with as many views of each as the options ask for."""
    if not args.only_drawn:
        return store.table(files, args.views)
    drawn = set()
    for cfg.SEED, cfg.DATASET.NUM_SHOTS in product(args.seeds, args.shots):
        set_random_seed(cfg.SEED)
        drawn |= {item.impath for item in build_dataset(cfg).train_x}
    groups = [[file for file in files if file in drawn], [file for file in files if file not in drawn]]
    tables = [store.table(group, views) for group, views in zip(groups, (args.views, 1)) if group]
    return FeatureTable.join(tables).take(map(store.relative, files))


def main(argv=None):
    args = parse_args(argv)
    if os.path.isdir(args.out):
        raise UserError(f"--out {args.out} is a folder; expected the name of the bank to write")
    rank, world = rank_and_world()
    if world > 1:
        try:
            torch.distributed.init_process_group("gloo")  # waits until every process of torchrun has come so far
        except ValueError as error:
            raise UserError(f"expected the variables that torchrun sets, or no WORLD_SIZE: {error}") from None
    work = f"{args.out}.work"  # what an interrupted extraction continues from
    with locked(f"{work}/lock{rank}", f"another process is making {args.out}; waiting for it"):
        make(args, rank)
        if world > 1:
            torch.distributed.barrier()  # rank 0 removes what the others have still to read
            torch.distributed.destroy_process_group()
        if rank == 0:
            shutil.rmtree(work, ignore_errors=True)


def make(args, rank):
    """Encodes this process's share; rank 0 writes the bank."""
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
    cfg = configure(args)
    backbone = load_backbone(cfg, device=device)
    apply_preprocessing(cfg, backbone)
    dataset = build_dataset(cfg)
    store = ImageStore(cfg, backbone, dataset.image_dir, args.views)
    tensors, split, names = {}, {}, dataset.lab2cname
    for name, items in (("train", dataset.train_x), ("val", dataset.val or []), ("test", dataset.test)):
        files = [item.impath for item in items]
        table = training_table(args, cfg, store, files) if name == "train" else store.table(files, 0)
        tensors[f"{name}.features"] = table.features
        if name == "train" or table.unreadable:  # else an image has one row
            tensors[f"{name}.offsets"] = table.offsets
        split[name] = [[store.relative(item.impath), item.label, names[item.label]] for item in items]
    if rank == 0:
        write_bank(args.out, tensors, header(cfg, backbone, dataset.split_hash, split, args.note))
        images = ", ".join(f"{len(items)} {name}" for name, items in split.items())
        print(f"{args.out}: images: {images}; {os.path.getsize(args.out) / 2**20:.1f} MB")


def header(cfg, backbone, split_hash, split, note):
    """What the header of a feature bank says, as write_bank takes it."""
    given = cfg.INPUT
    preprocess = {"size": given.SIZE, "interpolation": given.INTERPOLATION}
    preprocess |= {"mean": given.PIXEL_MEAN, "std": given.PIXEL_STD}
    return {
        "dataset": cfg.DATASET.NAME,
        "backbone": backbone.name,
        "backbone_hash": backbone.weights_hash,
        "split": json.dumps(split),
        "split_hash": split_hash,
        "preprocess": json.dumps(preprocess),
        "transforms": json.dumps({"transforms": given.TRANSFORMS, "rrcrop_scale": given.RRCROP_SCALE}),
        "views": str(cfg.FEATURES.VIEWS),
        "features_seed": str(cfg.FEATURES.SEED),
        "note": note,
    }


if __name__ == "__main__":
    say_errors(main)
