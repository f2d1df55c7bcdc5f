"""What every trainer has: named models with their optimisers, checkpoints, the training loop and its hooks."""

from os import path as osp

import torch

from ..utils import (
    MissingFile,
    NonFiniteLoss,
    UnknownName,
    UserError,
    load_checkpoint,
    nearest,
    resume_from_checkpoint,
    save_checkpoint,
    tolist_if_not,
)
from ..utils.torchtools import BEST_NAME, load_weights, newest_checkpoint


class TrainerBase:
    """The loop `before_train, (before_epoch, run_epoch, after_epoch) per epoch, after_train` over registered models."""

    def __init__(self):
        self._models = {}
        self._optims = {}
        self._scheds = {}
        self._writer = None

    # Models

    def register_model(self, name="model", model=None, optim=None, sched=None):
        """Put a model, and what trains it, under the trainer's care; its checkpoints go to <output>/<name>/."""
        if "_models" not in self.__dict__:
            raise AttributeError("call super().__init__() before register_model()")
        if name in self._models:
            raise UserError(
                f"a model called {name!r} is already registered; register the second one under another name"
            )
        self._models[name] = model
        self._optims[name] = optim
        self._scheds[name] = sched

    def get_model_names(self, names=None):
        """All registered names, or `names` as a list after a check that they are registered."""
        if names is None:
            return list(self._models)
        names = tolist_if_not(names)
        for name in names:
            if name not in self._models:
                raise UnknownName(f"unknown model {name!r}; registered: {', '.join(nearest(name, self._models))}")
        return names

    def set_model_mode(self, mode="train", names=None):
        """Put models in "train" or in "test" / "eval" mode."""
        if mode not in ("train", "test", "eval"):
            raise UserError(f'model mode: expected "train", "test" or "eval", got {mode!r}')
        for name in self.get_model_names(names):
            self._models[name].train(mode == "train")

    def update_lr(self, names=None):
        """Step the schedules: called once an epoch, after its last batch."""
        for name in self.get_model_names(names):
            if self._scheds[name] is not None:
                self._scheds[name].step()

    def get_current_lr(self, names=None):
        """The learning rate of the first of the models that has an optimiser."""
        optims = [self._optims[name] for name in self.get_model_names(names) if self._optims[name] is not None]
        return optims[0].param_groups[0]["lr"] if optims else 0.0

    # Checkpoints

    def save_model(self, epoch, directory, is_best=False, val_result=None, model_name=""):
        """Write <directory>/<name>/model.pth.tar-<epoch + 1> (or `model_name`) of each model; `epoch` counts from 0."""
        for name in self.get_model_names():
            optim, sched = self._optims[name], self._scheds[name]
            state = {
                "state_dict": self._models[name].state_dict(),
                "epoch": epoch + 1,
                "optimizer": None if optim is None else optim.state_dict(),
                "scheduler": None if sched is None else sched.state_dict(),
                "val_result": val_result,
            }
            save_checkpoint(state, osp.join(directory, name), is_best=is_best, model_name=model_name)

    def load_model(self, directory, epoch=None):
        """Load the weights saved after `epoch` epochs, or the best ones, of each model from <directory>/<name>/."""
        if not directory:
            print("load_model() does nothing: no directory is given")
            return
        file = BEST_NAME if epoch is None else f"model.pth.tar-{epoch}"
        for name in self.get_model_names():
            path = osp.join(directory, name, file)
            if not osp.isfile(path):
                newest = newest_checkpoint(osp.dirname(path))
                found = f"the newest one there is {newest}" if newest else "there is no checkpoint beside it"
                raise MissingFile(
                    f"expected a model at {path}, found none ({found}); correct --model-dir or --load-epoch"
                )
            checkpoint = load_checkpoint(path)
            load_weights(self._models[name], checkpoint, path)
            result = checkpoint.get("val_result")
            print(
                f"Loaded {path} into {name} (epoch = {checkpoint['epoch']}"
                + (f", val_result = {result:.1f})" if result is not None else ")")
            )

    def resume_model_if_exist(self, directory):
        """Restore models, optimisers and schedules from `directory`; returns how many epochs they have behind them."""
        names = self.get_model_names()
        newest = {name: newest_checkpoint(osp.join(directory, name)) for name in names}
        if not names or not all(newest.values()):
            print(f"No checkpoint in {directory}, training from scratch")
            return 0
        file = self._oldest(directory, newest)
        print(f"Found checkpoints in {directory}, training goes on from them")
        for name in names:
            epoch = resume_from_checkpoint(
                osp.join(directory, name), self._models[name], self._optims[name], self._scheds[name], file
            )
        return epoch

    @staticmethod
    def _oldest(directory, newest):
        """The file that all models go on from: a run killed between two saves leaves one model a checkpoint ahead.

        newest: dict of model name -> the file that its folder points to.
        """
        if len(set(newest.values())) == 1:
            return next(iter(newest.values()))
        epochs = {load_checkpoint(osp.join(directory, name, file))["epoch"]: file for name, file in newest.items()}
        return epochs[min(epochs)]

    # TensorBoard

    def init_writer(self, log_dir):
        """Start the TensorBoard log, where TensorBoard is installed."""
        if self._writer is not None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("TensorBoard is not installed: no curves are written")
            return
        print(f"TensorBoard log in {log_dir}")
        self._writer = SummaryWriter(log_dir=log_dir)

    def close_writer(self):
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def write_scalar(self, tag, scalar_value, global_step=None):
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)

    # Training

    def train(self, start_epoch, max_epoch):
        """Run the loop; before_train() may move self.start_epoch."""
        self.start_epoch, self.max_epoch = start_epoch, max_epoch
        self.before_train()
        self.epoch = max(self.start_epoch - 1, 0)
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self.before_epoch()
            self.run_epoch()
            self.after_epoch()
        self.after_train()

    def before_train(self):
        pass

    def after_train(self):
        pass

    def before_epoch(self):
        pass

    def after_epoch(self):
        pass

    def run_epoch(self):
        raise NotImplementedError

    def test(self):
        raise NotImplementedError

    def parse_batch_train(self, batch):
        raise NotImplementedError

    def parse_batch_test(self, batch):
        raise NotImplementedError

    def forward_backward(self, batch):
        raise NotImplementedError

    def model_inference(self, input):
        raise NotImplementedError

    def detect_anomaly(self, loss):
        """NonFiniteLoss, with the step, for a loss that is infinite or not a number."""
        if not torch.isfinite(loss).all():
            step = f"epoch {getattr(self, 'epoch', 0) + 1}, batch {getattr(self, 'batch_idx', 0) + 1}"
            raise NonFiniteLoss(
                f"the loss became {loss.detach().mean().item()} in {step}; the last checkpoint is from before it. "
                "Lower OPTIM.LR or use fp32"
            )

    def model_zero_grad(self, names=None):
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].zero_grad()

    def model_backward(self, loss):
        self.detect_anomaly(loss)
        loss.backward()

    def model_update(self, names=None):
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].step()

    def model_backward_and_update(self, loss, names=None):
        """One optimisation step: zero the gradients, check the loss, backward, update."""
        self.model_zero_grad(names)
        self.model_backward(loss)
        self.model_update(names)
