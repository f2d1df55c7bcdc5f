"""A made-up bank of ImageNet's form: what opening it takes, and an epoch."""

import multiprocessing
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import build_dataset

import datasets  # noqa: F401  (registers the readers)
import trainers
from trainers.core.bank import BankStore, write_bank
from trainers.core.data import FeatureLoader

WIDTH, CLASSES = 512, 1000
COUNTS = (10_000, 1_250_000)  # training images
BACKBONE = SimpleNamespace(name="made up", weights_hash="0" * 64)


def rows() -> list[dict]:
    """For each number of training images a row with 16 shots and one with all images, each measured in a process of its
    own."""
    found = []
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "bank.safetensors")
            make(path, count)
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
                found += pool.starmap(measure, [(path, 16), (path, -1)], chunksize=1)
    return found


def make(path, count):
    """A bank of `count` training images with one view each, and up to 50,000 test images."""
    features, split = {}, {}
    for part, size in (("train", count), ("val", 0), ("test", min(count, 50_000))):
        labels = [i % CLASSES for i in range(size)]
        split[part] = [[f"{part}/n{y:08d}/n{y:08d}_{i}.JPEG", y, f"class {y}"] for i, y in enumerate(labels)]
        features[f"{part}.features"] = torch.rand(size, WIDTH).half()
    about = {"dataset": "ImageNet", "backbone": BACKBONE.name, "backbone_hash": BACKBONE.weights_hash}
    write_bank(path, features, {**about, "split": split, "split_hash": "made up"})


def measure(path, shots):
    """CPU seconds until the bank is open and training and test features are read, and per row of an epoch; MB of memory
    at most before the epoch."""
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    cfg.DATASET.NAME, cfg.DATASET.NUM_SHOTS, cfg.FEATURES.BANK = "ImageNet", shots, str(path)
    start = time.process_time()
    dataset, store = build_dataset(cfg), BankStore(path, BACKBONE)
    opened = time.process_time()
    train, test = store.training_views(dataset.train_x), store.plain_views(dataset.test)
    read, status = time.process_time(), Path("/proc/self/status").read_text()
    batches = sum(1 for _ in FeatureLoader(train.to("cpu", torch.float32), 256))
    epoch = (time.process_time() - read) / batches / 256
    row = {"training images": len(train), "test images": len(test), "shots": shots, "open, s": opened - start}
    # that of getrusage would count what the process was before it became this one
    memory = int(status.split("VmHWM:")[1].split()[0]) / 2**10
    return {**row, "read, s": read - opened, "peak, MB": memory, "epoch, us per row": epoch * 1e6}
