"""Makes a feature bank of a dataset: every image encoded once, in one safetensors file that trains without the images.

    python scripts/extract_features.py --root DATA --dataset caltech101 --backbone MiniCLIP --out
    caltech101_miniclip.safetensors

Training images get --views random views each (with --only-drawn, those that some seed draws; one view elsewhere),
validation and test images the plain view. An interrupted extraction goes on where it stopped; `torchrun
--nproc-per-node N scripts/extract_features.py ...` shares the work.
"""

import argparse
import os
import shutil

import _path  # noqa: F401
import torch
from dassl.data.datasets import build_dataset
from dassl.utils import set_random_seed
from lib.console import bank_header, dataset_config
from lib.faults import say_errors

import datasets  # noqa: F401
from trainers.core.bank import write_bank
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
    only_drawn = "--views only for images drawn by --seeds at --shots, one view elsewhere"
    add("--only-drawn", action="store_true", help=only_drawn)
    add("--seeds", type=int, nargs="+", default=[1, 2, 3])
    add("--shots", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    add("--workers", type=int, default=2, help="processes that read images")
    add("--note", default="", help="kept in the header: source, licence, whether reduced")
    return parser.parse_args(argv)


def configure(args):
    cfg = dataset_config(args.dataset, args.backbone)
    cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.DATALOADER.NUM_WORKERS = args.root, -1, args.workers
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
    tables = {}
    for chosen, views in ((True, store.cfg.FEATURES.VIEWS), (False, 1)):
        if group := [file for file in files if (file in many) == chosen]:
            tables |= dict.fromkeys(group, store.table(group, views))
    features, counts = [], [0]
    for file in files:
        table, row = tables[file], tables[file].row[store.relative(file)]
        features.append(table.features[table.offsets[row] : table.offsets[row + 1]])
        counts.append(len(features[-1]))
    return torch.cat(features), torch.tensor(counts).cumsum(0)


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
    store = ImageStore(cfg, backbone, dataset.image_dir, cfg.FEATURES.VIEWS)
    many = drawn(cfg, args.seeds, args.shots) if args.only_drawn else {item.impath for item in dataset.train_x}
    tensors = dict(zip(("train.features", "train.offsets"), training_views(store, dataset.train_x, many)))
    splits = {"train": dataset.train_x, "val": dataset.val or [], "test": dataset.test}
    for name in ("val", "test"):
        table = store.table([item.impath for item in splits[name]], 0)
        tensors[f"{name}.features"] = table.features
        if table.unreadable:  # else an image has one row
            tensors[f"{name}.offsets"] = table.offsets
    if rank:
        return
    names, given = dataset.lab2cname, cfg.INPUT
    split = {k: [[store.relative(i.impath), i.label, names[i.label]] for i in v] for k, v in splits.items()}
    preprocess = {"size": given.SIZE, "interpolation": given.INTERPOLATION}
    preprocess |= {"mean": given.PIXEL_MEAN, "std": given.PIXEL_STD}
    transforms = {"transforms": given.TRANSFORMS, "rrcrop_scale": given.RRCROP_SCALE}
    header = bank_header(cfg, backbone, split, args.note, preprocess, transforms, args.views, cfg.FEATURES.SEED)
    write_bank(args.out, tensors, header)
    rows, size = sum(len(v) for k, v in tensors.items() if k.endswith("features")), os.path.getsize(args.out)
    print(
        f"{args.out}: {len(splits['train'])} training, {len(splits['val'])} validation, {len(splits['test'])} test "
        f"images, {rows} rows, {size / 2**20:.1f} MB"
    )


if __name__ == "__main__":
    say_errors(main)
