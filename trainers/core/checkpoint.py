"""Checkpoints of a FeatureTrainer: Dassl's files and folders, plus the class names, a rolling checkpoint, and exact
resuming."""

import os
import time

import torch
from dassl.utils import load_checkpoint, save_checkpoint

from . import results
from .errors import UserError

BEST = "model-best.pth.tar"
ROLLING = "model-rolling.pth.tar"  # overwritten while training goes on, removed when the last epoch is saved


class CheckpointMixin:
    """save_model, load_model and resume_model_if_exist for a trainer with one model (`head`) over
    `trained_classnames`."""

    def _folder(self, directory):
        return os.path.join(directory, self.MODEL_NAME)

    def newest_checkpoint(self, directory):
        """Path of the checkpoint that the `checkpoint` file in `directory` names, or None."""
        pointer = os.path.join(self._folder(directory), "checkpoint")
        if not directory or not os.path.isfile(pointer):
            return None
        with open(pointer) as file:
            return os.path.join(self._folder(directory), file.readline().strip())

    def save_model(self, epoch, directory, is_best=False, val_result=None, model_name=""):
        """Writes the state after `epoch` (0-based): model-N.pth.tar with N = epoch + 1 epochs done, or `model_name`."""
        optimizer, scheduler = self._optims[self.MODEL_NAME], self._scheds[self.MODEL_NAME]
        state = {
            "state_dict": self.head.state_dict(),
            "epoch": epoch + 1,
            "classnames": self.trained_classnames,
            "val_result": val_result,
            "optimizer": optimizer.state_dict() if optimizer else None,
            "scheduler": scheduler.state_dict() if scheduler else None,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "best_result": self.best_result,
            "seconds": dict(self.watch.seconds),
            "history": list(self.history),
            "selection": self.SELECTION,
        }
        save_checkpoint(state, self._folder(directory), is_best=is_best, model_name=model_name)

    def save_tuned(self, directory):
        """Puts the head as it is now into the checkpoint that it came from: with TEST.FINAL_MODEL best_val the best
        one, else the newest."""
        best = self.cfg.TEST.FINAL_MODEL == "best_val"
        path = os.path.join(self._folder(directory), BEST) if best else self.newest_checkpoint(directory)
        state = {**load_checkpoint(path), "state_dict": self.head.state_dict(), "selection": self.SELECTION}
        save_checkpoint(state, self._folder(directory), model_name=os.path.basename(path))

    def save_after_epoch(self):
        """The last epoch, every CHECKPOINT_FREQ-th, and a rolling one when CHECKPOINT_SECONDS have passed; none with
        parameters that are not finite."""
        if not all(torch.isfinite(p).all() for p in self.head.parameters()):
            return
        done, every = self.epoch + 1, self.cfg.TRAIN.CHECKPOINT_FREQ
        last = done == self.max_epoch
        if last or (every > 0 and done % every == 0):
            self.save_model(self.epoch, self.output_dir)
            if last:
                rolling = os.path.join(self._folder(self.output_dir), ROLLING)
                if os.path.exists(rolling):
                    os.remove(rolling)
        elif time.monotonic() - self.last_checkpoint >= self.cfg.TRAIN.CHECKPOINT_SECONDS:
            self.save_model(self.epoch, self.output_dir, model_name=ROLLING)
            self.last_checkpoint = time.monotonic()

    def head_from_checkpoint(self, classnames, state_dict):
        """The head over `classnames` with the saved parameters; a method whose shapes depend on data overrides it."""
        head = self.build_head(classnames)
        wanted = head.state_dict()
        # stock CoOp saves token buffers too
        state_dict = {name: value for name, value in state_dict.items() if name in wanted}
        try:
            head.load_state_dict(state_dict)
        except RuntimeError as error:
            raise UserError(f"the checkpoint does not fit {type(self).__name__} as configured: {error}") from None
        return head

    def _load(self, path):
        checkpoint = load_checkpoint(path)
        classnames = checkpoint.get("classnames") or self.head_classnames()
        return checkpoint, list(classnames)

    def head_of_run(self, path, classnames):
        """The head over `classnames` with the parameters of another run: `path` is its output folder, or a checkpoint
        file (also one of stock CoOp).

        Raises UserError where there is none or it does not fit, ClassesUnsupported where it cannot have these names.
        """
        file = path if os.path.isfile(path) else self._best_or_newest(path)
        if file is None or not os.path.isfile(file):
            raise UserError(
                f"MODEL.INIT_WEIGHTS: no checkpoint in {self._folder(path)}; "
                "expected the output folder of a finished run, or a checkpoint file"
            )
        backbone = results.read_source(file).get("backbone", {}).get("sha256", self.backbone.weights_hash)
        if backbone != self.backbone.weights_hash:
            raise UserError(
                f"MODEL.INIT_WEIGHTS: {file} was trained on another backbone ({backbone[:12]}, "
                f"the run uses {self.backbone.weights_hash[:12]})"
            )
        checkpoint, trained = self._load(file)
        self.set_head(self.head_from_checkpoint(trained, checkpoint["state_dict"]), trained, training=False)
        print(f"starts from {file} (epoch {checkpoint['epoch']}, {len(trained)} classes)")
        head = self.head_for(classnames)  # shows that it can have these names; but it need not be trainable
        if not self.TRAINS:
            self.SELECTION = f"source run: {checkpoint.get('selection', 'last epoch')}"
            return head
        return head if trained == list(classnames) else self.head_from_checkpoint(classnames, checkpoint["state_dict"])

    def _best_or_newest(self, directory):
        """The checkpoint of a run that counts: the best on validation where one was kept, else the newest, or None."""
        best = os.path.join(self._folder(directory), BEST)
        return best if os.path.exists(best) else self.newest_checkpoint(directory)

    def load_model(self, directory, epoch=None):
        """Loads the model of `directory` (an output folder): of `epoch`, else the best on validation, else the newest.

        Raises UserError where there is none, it is damaged, or it does not fit.
        """
        if not directory:
            if not self._models:
                raise UserError(
                    f"{type(self).__name__} has no model before it has seen training features: give --model-dir, the "
                    "output folder of a run"
                )
            print("load_model: no --model-dir given, evaluating the model as initialised")
            return
        folder = self._folder(directory)
        path = os.path.join(folder, f"model.pth.tar-{epoch}") if epoch is not None else self._best_or_newest(directory)
        if path is None or not os.path.exists(path):
            raise UserError(
                f"no checkpoint {path or f'in {folder}'}; --model-dir expects the output folder of a finished run, "
                "--load-epoch one of its epochs"
            )
        checkpoint, classnames = self._load(path)
        self.set_head(self.head_from_checkpoint(classnames, checkpoint["state_dict"]), classnames, training=False)
        self.SELECTION = checkpoint.get("selection", self.SELECTION)
        print(f"loaded {path} (epoch {checkpoint['epoch']}, {len(classnames)} classes)")

    def resume_model_if_exist(self, directory):
        """Continues from the newest checkpoint of `directory`; -> the epoch to start with, 0 where there is nothing to
        continue.

        Raises UserError where the checkpoint was trained over other class names.
        """
        path = self.newest_checkpoint(directory)
        if path is None or not os.path.exists(path):
            return 0
        checkpoint, classnames = self._load(path)
        if classnames != self.head_classnames():
            raise UserError(
                f"{path} was trained over other class names or another order ({len(classnames)} names, this run has "
                f"{len(self.head_classnames())}); use another --output-dir"
            )
        if self.TRAINS and not checkpoint.get("optimizer"):
            raise UserError(
                f"{path} has no optimiser state to resume from; use another --output-dir, or --model-dir to evaluate it"
            )
        self.set_head(self.head_from_checkpoint(classnames, checkpoint["state_dict"]), classnames)
        if self.TRAINS:
            self._optims[self.MODEL_NAME].load_state_dict(checkpoint["optimizer"])
            self._scheds[self.MODEL_NAME].load_state_dict(checkpoint["scheduler"])
            if self.scaler and checkpoint.get("scaler"):
                self.scaler.load_state_dict(checkpoint["scaler"])
        self.best_result = checkpoint.get("best_result", self.best_result)
        self.history = list(checkpoint.get("history", []))
        for stage, seconds in checkpoint.get("seconds", {}).items():
            self.watch.add(stage, seconds)
        print(f"resumed {path} after {checkpoint['epoch']} epochs")
        return checkpoint["epoch"] if self.TRAINS else 0
