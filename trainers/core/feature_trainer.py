"""The base class of every method here: training and evaluation on frozen image features.

A method provides `build_head(classnames)`: an nn.Module from unit image features [B, d] to logits [B, C] over these
names, logit scale included. Data, features, optimiser, precision, checkpoints, resuming, evaluation and results.json
are here.

    class LinearProbe(FeatureTrainer):
        def build_head(self, classnames):
            return nn.Linear(self.backbone.embed_dim, len(classnames))
"""

import math
import time
from functools import cached_property

import torch
import torch.nn.functional as F
from dassl.engine import TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer

from . import results, tasks
from .backbone import apply_preprocessing, load_backbone
from .checkpoint import CheckpointMixin
from .config import resolve_precision
from .errors import UserError
from .evaluation import EvaluationMixin
from .features import describe, open_store
from .loader import FeatureLoader
from .randomness import seed_all
from .validation import held_out, val_is_test


class FeatureTrainer(EvaluationMixin, CheckpointMixin, TrainerX):
    """Class attributes a method may set: SECTION (its node under cfg.TRAINER), MODEL_NAME (its checkpoint folder),
    TRAINS (False: nothing to train)."""

    SECTION = None
    MODEL_NAME = "head"
    TRAINS = True
    SELECTION = "last epoch"

    # ---- what a method provides

    def build_head(self, classnames):
        """-> nn.Module: unit features [B, d] -> logits [B, C] over `classnames`. `head.for_classes(names)` gives the
        head over other names."""
        raise NotImplementedError

    def compute_loss(self, features, labels):
        """-> (loss, logits [B, C]) of a batch; cross-entropy unless the method says otherwise."""
        logits = self.head(features)
        return F.cross_entropy(logits.float(), labels), logits

    def head_classnames(self):
        """The names that the head is trained over: those with training images, to which SHIP adds the label-only ones;
        all names of a target that no image of is trained on."""
        return self.task.real_classnames() or list(self.dataset.classnames)

    def has_training_data(self):
        """Whether the task gives this method anything to train on; if not, it applies what a source run learned."""
        return bool(self.task.real_classnames())

    def support_set(self):
        """The few-shot FeatureSet that a head may be built from (Tip-Adapter's cache); SHIP adds synthetic features of
        the new classes."""
        return self.train_set

    def build_optimizer(self, head):
        """The optimiser of the head's parameters: OPTIM's."""
        return build_optimizer(head, self.cfg.OPTIM)

    def tune(self):
        """Once, after training and before evaluation: a method may set what it searches on `search_set()`. It returns a
        phrase for results.json that says what was chosen on which images, and then its checkpoint is saved again; ''
        where nothing was changed."""
        return ""

    # ---- set-up

    @property
    def options(self):
        """The method's own config node; empty for a trainer that declares none."""
        return self.cfg.TRAINER[self.SECTION] if self.SECTION else {}

    def build_data_loader(self):
        self.open_backbone()
        self.task = tasks.build_task(self.cfg)
        self.dataset = self.task.dataset
        if not self.dataset.test:
            raise UserError(f"{self.cfg.DATASET.NAME} has no test images: nothing could be evaluated")
        self.num_classes, self.lab2cname = self.dataset.num_classes, self.dataset.lab2cname
        image_dir = getattr(self.dataset, "image_dir", getattr(self.dataset, "dataset_dir", ""))
        self.store = open_store(self.cfg, self.backbone, image_dir)
        self.dm = self.train_loader_u = self.val_loader = None
        self.TRAINS = self.TRAINS and self.has_training_data()
        if not self.TRAINS:
            self.SELECTION = "nothing trained"

    def open_backbone(self):
        """The frozen backbone, in the precision and with the preprocessing that the config asks for."""
        # history: mean loss and accuracy of each epoch
        self.watch, self.history, self._steps = results.Stopwatch(), [], []
        precision_key = f"TRAINER.{self.SECTION}.PREC" if self.SECTION else "PREC"
        dtype, self.autocast = resolve_precision(self.options.get("PREC", "auto"), self.device, precision_key)
        with self.watch.stage("backbone"):
            self.backbone = load_backbone(self.cfg, dtype, self.device)
        apply_preprocessing(self.cfg, self.backbone)

    @cached_property
    def train_set(self):
        """FeatureSet of the labelled training images, encoded when first asked for: evaluation alone never needs it."""
        with self.watch.stage("features"):
            found = self._features(self.dataset.train_x, self.store.train)
        print(describe(found, self.cfg.FEATURES.VIEWS))
        return found

    @cached_property
    def val_set(self):
        """FeatureSet of the few-shot validation images of the trained classes, or None where the dataset exposes none
        (but its test images)."""
        if val_is_test(self.dataset):
            print(f"{type(self.dataset).__name__} gives its test images as validation images: they are not used")
            return None
        return self._features(self.dataset.val, self.store.plain) if self.dataset.val else None

    def search_set(self):
        """-> (FeatureSet of real images of the trained classes to choose hyper-parameters on, what they are): few-shot
        validation, else a held-out draw of training images. Raises UserError where the dataset has neither."""
        classes = "base classes" if self.cfg.DATASET.get("SUBSAMPLE_CLASSES", "all") == "base" else "all classes"
        if self.val_set is not None:
            return self.val_set, f"few-shot validation of {classes}"
        items = held_out(self.dataset, self.cfg.DATASET.NUM_SHOTS, self.cfg.SEED)
        return self._features(items, self.store.plain), f"held-out training images of {classes}"

    def _features(self, items, source):
        found = source(items)
        if not len(found):
            raise UserError(f"{self.cfg.DATASET.NAME}: no readable image among {len(items)}")
        return found.to(self.device, torch.float32)

    def build_model(self):
        """Builds the head over `head_classnames()`, or starts from that of the run MODEL.INIT_WEIGHTS, and its
        optimiser."""
        names, start = self.head_classnames(), self.cfg.MODEL.INIT_WEIGHTS
        self.set_head(self.head_of_run(start, names) if start else self.build_head(names), names)

    def set_head(self, head, classnames, training=True):
        """Makes `head` the model that is trained, saved and evaluated; without `training` it gets no optimiser."""
        self.head, self.trained_classnames = head.to(self.device), list(classnames)
        learnable = [p for p in self.head.parameters() if p.requires_grad]
        optimizer = scheduler = None
        if self.TRAINS and training:
            if not learnable:
                raise UserError(
                    f"{type(self).__name__}: its head has no learnable parameter; set TRAINS = False for a method "
                    "without training"
                )
            optimizer = self.build_optimizer(self.head)
            scheduler = build_lr_scheduler(optimizer, self._schedule())
        self._models.pop(self.MODEL_NAME, None)  # a loaded head replaces the initial one
        self.register_model(self.MODEL_NAME, self.head, optimizer, scheduler)
        self.scaler = torch.amp.GradScaler(self.device.type) if self.autocast else None
        print(
            f"{type(self).__name__}: {len(classnames)} classes, {sum(p.numel() for p in learnable):,} learnable "
            "parameters"
        )

    def _schedule(self):
        """OPTIM for the scheduler; with SCHEDULE_PER step, its epochs are steps."""
        optim = self.cfg.OPTIM.clone()
        if optim.SCHEDULE_PER not in ("epoch", "step"):
            raise UserError(f"OPTIM.SCHEDULE_PER is '{optim.SCHEDULE_PER}'; it must be epoch or step")
        if optim.SCHEDULE_PER == "step":
            if optim.WARMUP_EPOCH > 0:
                raise UserError("OPTIM.SCHEDULE_PER step has no warm-up; set OPTIM.WARMUP_EPOCH -1")
            optim.defrost()
            optim.MAX_EPOCH *= len(self.make_loader())
        return optim

    def make_loader(self):
        """The training batches of an epoch."""
        if self.cfg.FEATURES.VIEWS == 0 and not self.cfg.FEATURES.BANK:
            from dassl.data import DataManager

            return DataManager(self.cfg).train_loader_x
        loader = self.cfg.DATALOADER.TRAIN_X
        return FeatureLoader(self.train_set, loader.BATCH_SIZE, loader.DROP_LAST)

    # ---- training

    def before_train(self):
        if self.TRAINS:
            self.train_loader_x = self.make_loader()
        elif type(self).TRAINS and not self.cfg.MODEL.INIT_WEIGHTS:
            raise UserError(
                f"TASK {self.cfg.TASK} applies what {type(self).__name__} learned in a source run: "
                "give its output folder with MODEL.INIT_WEIGHTS"
            )
        else:
            print(f"{type(self).__name__} has nothing to train")
            self.max_epoch = 0
        super().before_train()
        self.last_checkpoint = -math.inf

    def before_epoch(self):
        seed_all(self.cfg.SEED, "finetune", self.epoch)
        self._epoch_started, self._steps = time.perf_counter(), []

    def parse_batch_train(self, batch):
        """-> unit features [B, d] fp32, labels [B]; images (FEATURES.VIEWS 0) are encoded on the way."""
        labels = batch["label"].to(self.device)
        if "features" in batch:
            return batch["features"], labels
        with torch.no_grad():
            return self.backbone.encode_image(batch["img"].to(self.device, self.backbone.dtype)).float(), labels

    def forward_backward(self, batch):
        features, labels = self.parse_batch_train(batch)
        with torch.autocast(self.device.type, enabled=self.autocast):
            loss, logits = self.compute_loss(features, labels)
        if not torch.isfinite(loss):
            raise UserError(self._non_finite(loss))
        if self.scaler is None:
            self.model_backward_and_update(loss)
        else:
            self.model_zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self._optims[self.MODEL_NAME])
            self.scaler.update()
        last = self.batch_idx + 1 == self.num_batches
        if last or self.cfg.OPTIM.SCHEDULE_PER == "step":
            self.update_lr()
        self._steps.append({"loss": loss.item(), "acc": compute_accuracy(logits.detach(), labels)[0].item()})
        return self._steps[-1]

    def _non_finite(self, loss):
        good = self.newest_checkpoint(self.output_dir)
        return (
            f"{type(self).__name__}: the loss is {loss.item()} at epoch {self.epoch + 1}, step {self.batch_idx + 1} "
            f"of {self.num_batches} (lr {self.get_current_lr():.3g}); training stopped. "
            f"Last good checkpoint: {good or 'none yet'}. A smaller OPTIM.LR is the usual cure"
        )

    def after_epoch(self):
        self.watch.add("finetune", time.perf_counter() - self._epoch_started)
        if self._steps:
            self.history.append(
                {name: sum(step[name] for step in self._steps) / len(self._steps) for name in self._steps[0]}
            )
        if self.cfg.TEST.FINAL_MODEL == "best_val" and not self.cfg.TEST.NO_TEST:
            self._keep_best()
        self.save_after_epoch()

    def _keep_best(self):
        if self.val_set is None:
            raise UserError(
                "TEST.FINAL_MODEL best_val needs validation images, and this dataset exposes none; use last_step"
            )
        accuracy = self._accuracy(self.head, self.val_set)
        if accuracy > self.best_result:
            self.best_result = accuracy
            self.save_model(self.epoch, self.output_dir, model_name="model-best.pth.tar", val_result=accuracy)

    def after_train(self):
        print("Finish training")
        if self.TRAINS and self.cfg.TEST.FINAL_MODEL == "best_val":
            self.load_model(self.output_dir)
            self.SELECTION = "best epoch on few-shot validation of the trained classes"
        tuned = self.tune()
        if tuned:
            self.SELECTION += f"; {tuned}"
        if not self.TRAINS:
            self.save_model(-1, self.output_dir)
        elif tuned:
            self.save_tuned(self.output_dir)
        if not self.cfg.TEST.NO_TEST:
            self.evaluate_task()
        self.close_writer()
