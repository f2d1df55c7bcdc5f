"""Trainers on labelled images: what to override is build_model, forward_backward and, where needed, the hooks."""

import datetime
import math
import time
from os import path as osp

import torch
from tqdm import tqdm

from ..data import DataManager
from ..evaluation import build_evaluator
from ..utils import AverageMeter, MetricMeter, MissingFile, UserError, load_checkpoint
from ..utils.torchtools import BEST_NAME
from .base import TrainerBase


def __getattr__(name):
    """`SummaryWriter`, which public code imports from here; TensorBoard is loaded when it is asked for."""
    if name != "SummaryWriter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter


class SimpleTrainer(TrainerBase):
    """Builds data, model and evaluator from a config; trains with automatic resume, checkpoints and a final test."""

    def __init__(self, cfg):
        super().__init__()
        self.check_cfg(cfg)
        self.device = torch.device("cuda" if torch.cuda.is_available() and cfg.USE_CUDA else "cpu")
        self.start_epoch = self.epoch = 0
        self.max_epoch = cfg.OPTIM.MAX_EPOCH
        self.output_dir = cfg.OUTPUT_DIR
        self.cfg = cfg
        self.build_data_loader()
        self.build_model()
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)
        self.best_result = -math.inf

    def check_cfg(self, cfg):
        """Raise for a config that this trainer cannot work with."""

    def build_data_loader(self):
        """Set the loaders (train_loader_u and val_loader may be None), num_classes and lab2cname."""
        dm = DataManager(self.cfg)
        self.train_loader_x = dm.train_loader_x
        self.train_loader_u = dm.train_loader_u
        self.val_loader = dm.val_loader
        self.test_loader = dm.test_loader
        self.num_classes = dm.num_classes
        self.num_source_domains = dm.num_source_domains
        self.lab2cname = dm.lab2cname
        self.dm = dm

    def build_model(self):
        """Build self.model, its optimiser and schedule, and register them."""
        raise NotImplementedError(f"{type(self).__name__} must define build_model()")

    def train(self):
        super().train(self.start_epoch, self.max_epoch)

    def before_train(self):
        directory = self.cfg.RESUME or self.output_dir
        self.start_epoch = self.resume_model_if_exist(directory)
        if self.cfg.RESUME and not self.start_epoch:
            raise MissingFile(f"RESUME names {directory}, which holds no checkpoint of {self.get_model_names()}")
        if self.cfg.TEST.FINAL_MODEL == "best_val" and directory == self.output_dir:
            self.best_result = self._saved_best_result()
        self.init_writer(osp.join(self.output_dir, "tensorboard"))
        self.time_start = time.time()

    def after_train(self):
        print("Finish training")
        if not self.cfg.TEST.NO_TEST:
            if self.cfg.TEST.FINAL_MODEL == "best_val":
                print("Testing the model that was best on the validation set")
                self.load_model(self.output_dir)
            else:
                print("Testing the model of the last epoch")
            self.test()
        print(f"Elapsed: {datetime.timedelta(seconds=round(time.time() - self.time_start))}")
        self.close_writer()

    def after_epoch(self):
        done = self.epoch + 1
        if self.cfg.TEST.FINAL_MODEL == "best_val" and not self.cfg.TEST.NO_TEST:
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = result
                self.save_model(self.epoch, self.output_dir, val_result=result, model_name=BEST_NAME)
        every = self.cfg.TRAIN.CHECKPOINT_FREQ
        if done == self.max_epoch or (every > 0 and done % every == 0):
            self.save_model(self.epoch, self.output_dir)

    @torch.no_grad()
    def test(self, split=None):
        """Evaluate on "test" or "val" (default TEST.SPLIT); returns the first result, the accuracy in percent."""
        self.set_model_mode("eval")
        self.evaluator.reset()
        split = split or self.cfg.TEST.SPLIT
        if split not in ("test", "val"):
            raise UserError(f"TEST.SPLIT: expected test or val, got {split!r}")
        loader = self.val_loader if split == "val" else self.test_loader
        if loader is None:
            # Upstream would take the test set instead, and so select on it.
            raise UserError(
                f"{self.cfg.DATASET.NAME} has no validation set: set TEST.FINAL_MODEL last_step and TEST.SPLIT test"
            )
        print(f"Evaluate on the *{split}* set")
        for batch in tqdm(loader, disable=None):
            input, label = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(input), label)
        results = self.evaluator.evaluate()
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def model_inference(self, input):
        return self.model(input)

    def parse_batch_test(self, batch):
        """(images [B, 3, H, W], labels [B]) on the trainer's device."""
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def _saved_best_result(self):
        """The validation result of the best model in the output folder, so that a resumed run keeps it."""
        results = []
        for name in self.get_model_names():
            path = osp.join(self.output_dir, name, BEST_NAME)
            results.append(load_checkpoint(path).get("val_result") if osp.isfile(path) else None)
        return -math.inf if None in results or not results else min(results)


class TrainerX(SimpleTrainer):
    """Trains on labelled data: forward_backward(batch) does one step and returns a dict of what to report.

    It calls update_lr() after the last batch of an epoch, (self.batch_idx + 1) == self.num_batches.
    """

    def run_epoch(self):
        self.set_model_mode("train")
        losses, batch_time, data_time = MetricMeter(), AverageMeter(), AverageMeter()
        self.num_batches = len(self.train_loader_x)
        # With fewer batches than PRINT_FREQ each one is reported.
        every = self.cfg.TRAIN.PRINT_FREQ if self.num_batches >= self.cfg.TRAIN.PRINT_FREQ else 1

        end = time.time()
        for batch_idx, batch in enumerate(self.train_loader_x):
            self.batch_idx = batch_idx
            data_time.update(time.time() - end)
            losses.update(self.forward_backward(batch))
            batch_time.update(time.time() - end)
            if every > 0 and (self.batch_idx + 1) % every == 0:
                print(self._progress(losses, batch_time, data_time))
            step = self.epoch * self.num_batches + self.batch_idx
            for name, meter in losses.meters.items():
                self.write_scalar(f"train/{name}", meter.avg, step)
            self.write_scalar("train/lr", self.get_current_lr(), step)
            end = time.time()

    def _progress(self, losses, batch_time, data_time):
        left = self.max_epoch * self.num_batches - (self.epoch * self.num_batches + self.batch_idx + 1)
        eta = datetime.timedelta(seconds=int(batch_time.avg * left))
        return (
            f"epoch [{self.epoch + 1}/{self.max_epoch}] batch [{self.batch_idx + 1}/{self.num_batches}] "
            f"time {batch_time.val:.3f} ({batch_time.avg:.3f}) data {data_time.val:.3f} ({data_time.avg:.3f}) "
            f"{losses} lr {self.get_current_lr():.4e} eta {eta}"
        )

    def parse_batch_train(self, batch):
        """(images [B, 3, H, W], labels [B], domains [B]) on the trainer's device."""
        return tuple(batch[key].to(self.device) for key in ("img", "label", "domain"))
