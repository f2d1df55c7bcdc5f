"""A CoOp-shaped checkout, written here: train script, reader, and a stock trainer that already owns the name CoOp."""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
COLOURS = ["blue", "green", "red", "white", "black", "yellow"]

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
    trainer.load_model(args.model_dir)
    trainer.test()
else:
    trainer.train()
"""

READER = '''
import os
from dassl.data.datasets import DATASET_REGISTRY, Datum, DatasetBase


@DATASET_REGISTRY.register()
class Colours(DatasetBase):
    """Six colours; the first half of the labels is base."""

    dataset_dir = "colours"

    def __init__(self, cfg):
        folder = os.path.join(cfg.DATASET.ROOT, self.dataset_dir)
        self.image_dir = folder
        names = sorted(os.listdir(folder))
        half = {"all": names, "base": names[:3], "new": names[3:]}[cfg.DATASET.SUBSAMPLE_CLASSES]
        items = [
            Datum(impath=os.path.join(folder, name, file), label=label, classname=name)
            for label, name in enumerate(half)
            for file in sorted(os.listdir(os.path.join(folder, name)))
        ]
        super().__init__(train_x=items[::2], val=items[1::4], test=items[3::4])
'''

STOCK = '''
from dassl.engine import TRAINER_REGISTRY, TrainerX


@TRAINER_REGISTRY.register()
class CoOp(TrainerX):
    """Stands for CoOp's own trainer: its name is taken."""
'''

CONFIG = """
INPUT:
  TRANSFORMS: ["random_flip", "normalize"]
  INTERPOLATION: "bicubic"
OPTIM: {NAME: "sgd", LR: 0.002, MAX_EPOCH: 2, LR_SCHEDULER: "cosine"}
DATALOADER: {NUM_WORKERS: 0, TRAIN_X: {BATCH_SIZE: 4}}
MODEL: {BACKBONE: {NAME: "MiniCLIP"}}
TRAINER: {COOP: {CTX_INIT: "a photo of a"}, SHIP: {EPOCHS: 2, BATCH_SIZE: 4, HIDDEN_DIM: 16}}
"""


def make_checkout(folder, package):
    """`folder`/checkout, whose train.py takes our trainers from `package`, and `folder`/data, its images. -> folder"""
    for name, text in {
        "train.py": TRAIN.replace("PACKAGE", package),
        "datasets/__init__.py": "",
        "datasets/colours.py": READER,
        "trainers/__init__.py": "",
        "trainers/coop.py": STOCK,
        "config.yaml": CONFIG,
    }.items():
        (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "checkout" / name).write_text(text)
    for i, name in enumerate(COLOURS):
        for j in range(4):
            file = folder / "data/colours" / name / f"{j}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (40 * i, 10 * j, 200 - 30 * i)).save(file)
    return folder


def run(checkout, *flags, path=(), script="train.py"):
    """The checkout's own train.py, or another `script` of it, with the folders `path`, our Dassl runtime and MiniCLIP
    as PYTHONPATH."""
    return subprocess.run(
        [sys.executable, script, "--root", checkout / "data", "--config-file", "config.yaml", *flags],
        cwd=checkout / "checkout",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT / "third_party"]))},
        capture_output=True,
        text=True,
    )
