"""A CoOp-shaped checkout, written here, run as its users run it: train, kill, resume, --eval-only, tables from logs.

The tree has what CoOp's has: a train.py with its flags, a reader with split file and few-shot pickles, a prompt learner
that registers alone, keeps class-dependent buffers in its checkpoint and drops them on load.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dassl.data.datasets import read_fewshot
from dassl.utils import check_isfile, write_json
from PIL import Image

THIRD_PARTY = Path(__file__).resolve().parents[2] / "third_party"

READER = """
import math
import os
import pickle

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.utils import mkdir_if_missing, read_json


@DATASET_REGISTRY.register()
class Colours(DatasetBase):
    dataset_dir = "colours"

    def __init__(self, cfg):
        folder = os.path.join(os.path.abspath(cfg.DATASET.ROOT), self.dataset_dir)
        mkdir_if_missing(os.path.join(folder, "split_fewshot"))
        parts = {
            name: [Datum(impath=os.path.join(folder, "images", p), label=int(y), classname=c) for p, y, c in rows]
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
        kept = {"base": labels[:half], "new": labels[half:]}[cfg.DATASET.SUBSAMPLE_CLASSES]
        train, val, test = (
            [Datum(x.impath, kept.index(x.label), x.domain, x.classname) for x in parts[n] if x.label in kept]
            for n in ("train", "val", "test")
        )
        super().__init__(train_x=train, val=val, test=test)
"""

TRAINER = '''
import os
from os import path as osp

import torch
from torch import nn
from torch.nn import functional as F
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint, load_pretrained_weights


class PromptLearner(nn.Module):
    def __init__(self, n_ctx, classnames, letters):
        super().__init__()
        self.ctx = nn.Parameter(torch.empty(n_ctx, 8))
        nn.init.normal_(self.ctx, std=0.02)
        with torch.no_grad():
            suffix = [letters(torch.tensor([ord(c) for c in f"{name}."])).mean(dim=0) for name in classnames]
        self.register_buffer("token_suffix", torch.stack(suffix))

    def forward(self):
        return self.ctx.mean(dim=0) + self.token_suffix


class Model(nn.Module):
    """Fixed random towers (mean colour -> feature, letters -> feature) and a prompt that learns."""

    def __init__(self, cfg, classnames):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.visual, letters, self.text = nn.Linear(3, 8), nn.Embedding(128, 8), nn.Linear(8, 8)
        self.prompt_learner = PromptLearner(cfg.TRAINER.SHAPED.N_CTX, classnames, letters)

    def forward(self, image):
        x = F.normalize(self.visual(image.mean(dim=(2, 3))), dim=-1)
        return 10 * x @ F.normalize(self.text(self.prompt_learner()), dim=-1).t()


@TRAINER_REGISTRY.register()
class Shaped(TrainerX):
    def check_cfg(self, cfg):
        assert cfg.TRAINER.SHAPED.PREC in ["fp16", "fp32", "amp"]

    def build_model(self):
        cfg = self.cfg
        self.model = Model(cfg, self.dm.dataset.classnames)
        for name, p in self.model.named_parameters():
            p.requires_grad_("prompt_learner" in name)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.model.prompt_learner, cfg.MODEL.INIT_WEIGHTS)
        self.model.to(self.device)
        self.optim = build_optimizer(self.model.prompt_learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("prompt_learner", self.model.prompt_learner, self.optim, self.sched)

    def forward_backward(self, batch):
        image, label = batch["img"].to(self.device), batch["label"].to(self.device)
        output = self.model(image)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}

    def after_epoch(self):
        super().after_epoch()
        if os.environ.get("KILL_AFTER") == str(self.epoch + 1):
            os._exit(9)

    def load_model(self, directory, epoch=None):
        for name in self.get_model_names():
            checkpoint = load_checkpoint(osp.join(directory, name, f"model.pth.tar-{epoch}"))
            del checkpoint["state_dict"]["token_suffix"]
            print(f"epoch of the weights: {checkpoint['epoch']}")
            self._models[name].load_state_dict(checkpoint["state_dict"], strict=False)
'''

TRAIN = """
import argparse

import datasets.colours
import trainers.shaped
from dassl.config import get_cfg_default
from dassl.engine import build_trainer
from dassl.utils import collect_env_info, set_random_seed, setup_logger
from yacs.config import CfgNode as CN

parser = argparse.ArgumentParser()
for flag in ("--root", "--output-dir", "--config-file", "--dataset-config-file", "--trainer", "--model-dir"):
    parser.add_argument(flag, default="")
parser.add_argument("--seed", type=int, default=-1)
parser.add_argument("--load-epoch", type=int)
parser.add_argument("--eval-only", action="store_true")
parser.add_argument("opts", nargs=argparse.REMAINDER)
args = parser.parse_args()

cfg = get_cfg_default()
cfg.TRAINER.SHAPED = CN({"N_CTX": 16, "PREC": "fp16"})
cfg.DATASET.SUBSAMPLE_CLASSES = "all"
cfg.merge_from_file(args.dataset_config_file)
cfg.merge_from_file(args.config_file)
cfg.DATASET.ROOT, cfg.OUTPUT_DIR, cfg.SEED, cfg.TRAINER.NAME = args.root, args.output_dir, args.seed, args.trainer
cfg.merge_from_list(args.opts)
cfg.freeze()
set_random_seed(cfg.SEED)
setup_logger(cfg.OUTPUT_DIR)
print(cfg)
print(collect_env_info())
trainer = build_trainer(cfg)
if args.eval_only:
    trainer.load_model(args.model_dir, epoch=args.load_epoch)
    trainer.test()
else:
    trainer.train()
"""

CONFIG = """
DATALOADER: {TRAIN_X: {BATCH_SIZE: 4, SAMPLER: "SequentialSampler"}, TEST: {BATCH_SIZE: 100}, NUM_WORKERS: 0}
INPUT:
  SIZE: (8, 8)
  INTERPOLATION: "bicubic"
  PIXEL_MEAN: [0.48145466, 0.4578275, 0.40821073]
  PIXEL_STD: [0.26862954, 0.26130258, 0.27577711]
  TRANSFORMS: ["normalize"]
OPTIM:
  NAME: "sgd"
  LR: 0.2
  MAX_EPOCH: 4
  LR_SCHEDULER: "cosine"
  WARMUP_EPOCH: 1
  WARMUP_TYPE: "constant"
  WARMUP_CONS_LR: 1e-5
TRAIN: {PRINT_FREQ: 5, CHECKPOINT_FREQ: 1}
TRAINER: {SHAPED: {PREC: "fp32"}}
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Folder of the tree and its data: four colours, six training, two validation and three test images of each."""
    root = tmp_path_factory.mktemp("checkout")
    for path, text in {
        "datasets/colours.py": READER,
        "trainers/shaped.py": TRAINER,
        "train.py": TRAIN,
        "configs/shaped.yaml": CONFIG,
        "configs/colours.yaml": 'DATASET:\n  NAME: "Colours"\n',
        "datasets/__init__.py": "",
        "trainers/__init__.py": "",
    }.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(text)
    split = {"train": [], "val": [], "test": []}
    images = root / "data" / "colours" / "images"
    images.mkdir(parents=True)
    colours = {"black": (0, 0, 0), "blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
    for label, (name, rgb) in enumerate(colours.items()):
        for i in range(11):
            file = f"{name}_{i}.png"
            Image.new("RGB", (10, 12), tuple(min(255, c + 5 * i) for c in rgb)).save(images / file)
            split["train" if i < 6 else "val" if i < 8 else "test"].append([file, label, name])
    write_json(split, str(root / "data" / "colours" / "split.json"))
    return root


def command(checkout, output, *options, seed=1, **environment):
    """Run train.py as a user would; returns its exit code and output."""
    words = f"train.py --root data --seed {seed} --trainer Shaped --output-dir {output}".split()
    words += ["--dataset-config-file", "configs/colours.yaml", "--config-file", "configs/shaped.yaml"]
    own = {"PYTHONPATH": str(THIRD_PARTY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
    done = subprocess.run(
        [sys.executable, *words, *options, "DATASET.NUM_SHOTS", "4"],
        cwd=checkout,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def straight(checkout):
    code, out = command(checkout, "output/base/seed1", "DATASET.SUBSAMPLE_CLASSES", "base")
    assert code == 0, out
    return out


def accuracies(text):
    return [float(x) for x in re.findall(r"^\* accuracy: ([\d.]+)%$", text, re.M)]


def test_training_leaves_log_checkpoints_and_fewshot_pickle(checkout, straight):
    folder = checkout / "output/base/seed1"
    log = (folder / "log.txt").read_text()
    assert log in straight
    assert "# classes  2\n# train_x  8\n# val      4\n# test     6" in log
    # What parse_test_res.py reads: the last accuracy after the end signal.
    assert len(accuracies(log)) == 1 and log.index("Finish training") < log.index("* accuracy")
    assert {f"model.pth.tar-{e}" for e in (1, 2, 3, 4)} | {"checkpoint"} == set(os.listdir(folder / "prompt_learner"))
    saved = torch.load(folder / "prompt_learner" / "model.pth.tar-4", weights_only=True)
    assert set(saved["state_dict"]) == {"ctx", "token_suffix"} and saved["epoch"] == 4
    draw = read_fewshot(str(checkout / "data/colours/split_fewshot/shot_4-seed_1.pkl"))
    assert [len(draw[part]) for part in ("train", "val")] == [16, 8]
    assert all(check_isfile(item.impath) for item in draw["train"])


def test_loss_falls_and_the_rate_follows_the_schedule(checkout, straight):
    lines = re.findall(r"^epoch \[(\d)/4\] batch \[2/2\] .*loss \S+ \((\S+)\) acc .* lr (\S+) eta", straight, re.M)
    assert [epoch for epoch, *_ in lines] == ["1", "2", "3", "4"]
    losses = [float(loss) for _, loss, _ in lines]
    assert losses[3] < losses[2] < losses[1]
    # Printed after the last batch of an epoch, hence the rate of the next one.
    assert [float(rate) for *_, rate in lines] == pytest.approx([0.2, 0.170711, 0.1, 0.0292893], rel=1e-3)


def test_a_killed_run_resumes_and_ends_the_same(checkout, straight):
    code, out = command(checkout, "output/killed/seed1", "DATASET.SUBSAMPLE_CLASSES", "base", KILL_AFTER="2")
    assert code == 9 and "Finish training" not in out
    folder = checkout / "output/killed/seed1"
    assert (folder / "log.txt").read_text().rstrip().endswith("model.pth.tar-2")
    code, out = command(checkout, "output/killed/seed1", "DATASET.SUBSAMPLE_CLASSES", "base")
    assert code == 0 and "epoch [3/4]" in out and "epoch [2/4]" not in out
    assert accuracies(out) == accuracies(straight)
    ends = [
        torch.load(checkout / f"output/{run}/seed1/prompt_learner/model.pth.tar-4", weights_only=True)
        for run in ("base", "killed")
    ]
    assert torch.equal(ends[0]["state_dict"]["ctx"], ends[1]["state_dict"]["ctx"])
    assert ends[0]["scheduler"] == ends[1]["scheduler"]
    logs = sorted(name for name in os.listdir(folder) if name.startswith("log.txt"))
    assert len(logs) == 2 and logs[0] == "log.txt" and re.fullmatch(r"log\.txt-\d{4}(-\d\d){5}", logs[1])


def test_evaluation_of_new_classes_with_the_base_weights(checkout, straight):
    options = ["--eval-only", "--model-dir", "output/base/seed1", "--load-epoch", "4", "DATASET.SUBSAMPLE_CLASSES"]
    code, out = command(checkout, "output/new/seed1", *options, "new")
    assert code == 0 and "epoch of the weights: 4" in out and "* total: 6" in out and "Finish training" not in out
    assert "reading " in out  # the few-shot pickle of the training run
    code, out = command(checkout, "output/again/seed1", *options, "base")
    assert code == 0 and accuracies(out) == accuracies(straight)
