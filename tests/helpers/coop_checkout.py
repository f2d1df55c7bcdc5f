"""A CoOp-shaped checkout, written here: train script with CoOp's flags, a reader with split file and few-shot pickles,
and the trainers of family.py."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from dassl.utils import write_json
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
COLOURS = ["black", "blue", "green", "red", "white", "yellow"]
PARTS = {"train": 4, "val": 1, "test": 2}  # images of a colour

TRAIN = """
import argparse
from yacs.config import CfgNode as CN
from dassl.config import get_cfg_default
from dassl.engine import build_trainer
from dassl.utils import set_random_seed, setup_logger
import datasets.colours
import trainers.coop
import PACKAGE as ship


def extend_cfg(cfg):
    cfg.TRAINER.COOP = CN()
    cfg.TRAINER.COOP.N_CTX = 16
    cfg.TRAINER.COOP.CSC = False
    cfg.TRAINER.COOP.CTX_INIT = ""
    cfg.TRAINER.COOP.PREC = "fp16"
    cfg.TRAINER.COOP.CLASS_TOKEN_POSITION = "end"
    cfg.TRAINER.COOP.THEIRS = 1
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    ship.extend_cfg(cfg)


parser = argparse.ArgumentParser()
for flag in ("root", "output-dir", "config-file", "trainer", "model-dir"):
    parser.add_argument("--" + flag, default="")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--load-epoch", type=int)
parser.add_argument("--eval-only", action="store_true")
parser.add_argument("opts", nargs=argparse.REMAINDER)
args = parser.parse_args()
cfg = get_cfg_default()
extend_cfg(cfg)
cfg.merge_from_file(args.config_file)
cfg.DATASET.ROOT, cfg.DATASET.NAME, cfg.OUTPUT_DIR = args.root, "Colours", args.output_dir
cfg.TRAINER.NAME, cfg.SEED = args.trainer, args.seed
cfg.merge_from_list(args.opts)
cfg.freeze()
set_random_seed(cfg.SEED)
setup_logger(cfg.OUTPUT_DIR)
trainer = build_trainer(cfg)
if args.eval_only:
    trainer.load_model(args.model_dir, epoch=args.load_epoch)
    trainer.test()
else:
    trainer.train()
"""

READER = '''
import math
import os
import pickle

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.utils import mkdir_if_missing, read_json


@DATASET_REGISTRY.register()
class Colours(DatasetBase):
    """Six colours; the first half of the labels is base."""

    dataset_dir = "colours"

    def __init__(self, cfg):
        folder = self.image_dir = os.path.join(os.path.abspath(cfg.DATASET.ROOT), self.dataset_dir)
        mkdir_if_missing(os.path.join(folder, "split_fewshot"))
        parts = {
            name: [Datum(impath=os.path.join(folder, p), label=int(y), classname=c) for p, y, c in rows]
            for name, rows in read_json(os.path.join(folder, "split.json")).items()
        }
        k = cfg.DATASET.NUM_SHOTS
        file = os.path.join(folder, "split_fewshot", f"shot_{k}-seed_{cfg.SEED}.pkl")
        if os.path.exists(file):
            print("reading " + file)
            with open(file, "rb") as f:
                parts.update(pickle.load(f))
        else:
            parts["train"] = self.generate_fewshot_dataset(parts["train"], num_shots=k)
            parts["val"] = self.generate_fewshot_dataset(parts["val"], num_shots=min(k, 4))
            with open(file, "wb") as f:
                pickle.dump({n: parts[n] for n in ("train", "val")}, f, protocol=pickle.HIGHEST_PROTOCOL)
        labels = sorted({x.label for x in parts["train"]})
        half = math.ceil(len(labels) / 2)
        kept = {"all": labels, "base": labels[:half], "new": labels[half:]}[cfg.DATASET.SUBSAMPLE_CLASSES]
        train, val, test = (
            [Datum(x.impath, kept.index(x.label), x.domain, x.classname) for x in parts[n] if x.label in kept]
            for n in ("train", "val", "test")
        )
        super().__init__(train_x=train, val=val, test=test)
'''

CONFIG = """
INPUT:
  TRANSFORMS: ["random_flip", "normalize"]
  INTERPOLATION: "bicubic"
OPTIM: {NAME: "sgd", LR: 0.002, MAX_EPOCH: 2, LR_SCHEDULER: "cosine"}
DATALOADER: {NUM_WORKERS: 0, TRAIN_X: {BATCH_SIZE: 4}}
MODEL: {BACKBONE: {NAME: "MiniCLIP"}}
"""
OURS = 'TRAINER: {COOP: {CTX_INIT: "a photo of a"}, SHIP: {EPOCHS: 2, BATCH_SIZE: 4, HIDDEN_DIM: 16}}\n'


def make_checkout(folder, package=""):
    """`folder`/checkout, whose train.py takes our trainers from `package`, if any, and `folder`/data. -> folder"""
    train = TRAIN if package else "".join(line for line in TRAIN.splitlines(True) if "ship" not in line)
    for name, text in {
        "train.py": train.replace("PACKAGE", package),
        "datasets/__init__.py": "",
        "datasets/colours.py": READER,
        "trainers/__init__.py": "",
        "config.yaml": CONFIG + (OURS if package else ""),
    }.items():
        (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "checkout" / name).write_text(text)
    shutil.copy(ROOT / "tests/helpers/family.py", folder / "checkout/trainers/coop.py")
    top, split = folder / "data/colours", {part: [] for part in PARTS}
    for label, name in enumerate(COLOURS):
        (top / name).mkdir(parents=True)
        for i, part in enumerate(part for part, count in PARTS.items() for _ in range(count)):
            Image.new("RGB", (32, 32), (40 * label, 10 * i, 200 - 30 * label)).save(top / name / f"{i}.png")
            split[part].append([f"{name}/{i}.png", label, name])
    write_json(split, str(top / "split.json"))
    return folder


def run(checkout, *flags, path=(), script="train.py", **environment):
    """The checkout's own train.py, or another `script` of it, with the folders `path`, our Dassl runtime and MiniCLIP
    as PYTHONPATH."""
    path = os.pathsep.join(map(str, [*path, ROOT / "third_party"]))
    return subprocess.run(
        [sys.executable, script, "--root", checkout / "data", "--config-file", "config.yaml", *flags],
        cwd=checkout / "checkout",
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
