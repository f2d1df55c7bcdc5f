"""The trainers/ folder copied into a CoOp checkout under another name: one import, one line for the defaults (README,
"In your CoOp checkout").

The checkout is CoOp-shaped and written here: a train script, a reader and a stock trainer that already owns the name
CoOp.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
COLOURS = ["blue", "green", "red", "white", "black", "yellow"]

TRAIN = """
import argparse
from yacs.config import CfgNode as CN
from dassl.config import get_cfg_default
from dassl.engine import build_trainer
from dassl.utils import set_random_seed, setup_logger
import datasets.colours
import trainers.coop
import trainers.ship_trainers as ship


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
        super().__init__(train_x=items[::2], val=items[1::2], test=items[1::2])
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


@pytest.fixture
def checkout(tmp_path):
    """A CoOp-shaped tree with our trainers/ copied into its trainers/ as ship_trainers/."""
    for name, text in {
        "train.py": TRAIN,
        "datasets/__init__.py": "",
        "datasets/colours.py": READER,
        "trainers/__init__.py": "",
        "trainers/coop.py": STOCK,
        "config.yaml": CONFIG,
    }.items():
        (tmp_path / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkout" / name).write_text(text)
    shutil.copytree(
        ROOT / "trainers", tmp_path / "checkout/trainers/ship_trainers", ignore=shutil.ignore_patterns("__pycache__")
    )
    for i, name in enumerate(COLOURS):
        for j in range(4):
            file = tmp_path / "data/colours" / name / f"{j}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (40 * i, 10 * j, 200 - 30 * i)).save(file)
    return tmp_path


def run(checkout, *flags):
    """The checkout's own train.py, with our Dassl runtime and MiniCLIP on the path as the README says."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "third_party")}
    return subprocess.run(
        [sys.executable, "train.py", "--root", checkout / "data", "--config-file", "config.yaml", *flags],
        cwd=checkout / "checkout",
        env=env,
        capture_output=True,
        text=True,
    )


def test_the_twin_trains_and_evaluates_in_a_coop_checkout(checkout):
    out = checkout / "out"
    ship = "--trainer CoOp_SHIP --output-dir".split()
    base = "TASK base2new TRAINER.COOP.PREC fp32".split()  # the checkout's SUBSAMPLE_CLASSES is all: the task's is base
    done = run(checkout, *ship, str(out), *base)
    assert done.returncode == 0, done.stderr
    assert "CoOp_SHIP: 6 classes" in done.stdout
    found = json.loads((out / "results.json").read_text())
    assert {"base", "new", "H", "all"} <= set(found["metrics"]) and found["dataset"] == "Colours"
    assert (found["method"], found["plugins"]) == ("CoOp", ["SHIP"])
    checkpoint = torch.load(out / "generator/generator.pth.tar", weights_only=True)
    assert json.loads(checkpoint["settings"])["classnames"] == ["black", "blue", "green"]
    new = "DATASET.SUBSAMPLE_CLASSES new TRAINER.COOP.PREC fp32".split()
    again = run(checkout, *ship, str(checkout / "new"), "--eval-only", "--model-dir", str(out), *new)
    assert again.returncode == 0, again.stderr
    assert f"* accuracy: {found['metrics']['new']:.1f}%" in again.stdout


def test_a_run_of_the_checkout_is_opened_by_our_scripts(checkout):
    """Its config.yaml is written by the trainer; the keys of the checkout's own trainers do not stand in the way."""
    out, photo = checkout / "out", next((checkout / "data/colours/red").glob("*.png"))
    options = "TASK base2new TRAINER.COOP.PREC fp32 TRAINER.COOP.THEIRS 3".split()
    done = run(checkout, "--trainer", "CoOp_SHIP", "--output-dir", str(out), *options)
    assert done.returncode == 0, done.stderr
    asked = subprocess.run(
        [sys.executable, ROOT / "scripts/predict.py", out, photo], cwd=checkout, capture_output=True, text=True
    )
    assert asked.returncode == 0, asked.stderr
    predicted = asked.stdout.splitlines()[-1].removeprefix(f"{photo}: ").split(", ")
    assert len(predicted) == 3 and {name.split()[0] for name in predicted} <= set(COLOURS)


def test_a_taken_name_stays_with_its_owner(checkout):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import trainers.coop as stock, trainers.ship_trainers\n"
            "from dassl.engine import TRAINER_REGISTRY as r\nassert r.get('CoOp') is "
            "stock.CoOp\nprint(r.get('CoOp_SHIP').__module__)",
        ],
        cwd=checkout / "checkout",
        env={**os.environ, "PYTHONPATH": str(ROOT / "third_party")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "CoOp is registered already, by trainers.coop", "trainers.ship_trainers.coop"
    ]  # fmt: skip
