"""The base class of every method here: the life of a run, and the training loop.

A method provides `build_head(classnames)`: an nn.Module from unit image features [B, d] to logits [B, C] over these
names, logit scale included. Data, features, optimiser, precision, checkpoints, resuming, evaluation, plug-ins and
results.json come with it.
"""

import os
import time
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from dassl.metrics import compute_accuracy
from dassl.optim import build_optimizer
from torch import Tensor, nn
from tqdm import tqdm

from . import checkpoints, files, metrics, run
from .config import PRECISIONS, Range, build_schedule, check_overrides, options_of
from .data import FeatureLoader
from .files import UserError
from .model.prompts import initial_context
from .predictor import Predictor
from .randomness import seed_all
from .workers import ImageLoader

# Dassl's hooks that the loop below does not call.
WITHOUT_EFFECT = (
    *("before_train", "before_epoch", "run_epoch", "parse_batch_train", "forward_backward"),
    *("after_epoch", "after_train", "model_inference", "parse_batch_test"),
)


class FeatureTrainer(Predictor):
    """Class attributes that a method may set.

    SECTION: its node under cfg.TRAINER; OPTIONS: the keys there with their defaults, beside the inherited ones; LIMITS:
    what they allow, a config.Range of numbers or a tuple of words.
    MODEL_NAME: its checkpoint folder. REVISION: raised by every change that moves the method's figures.
    TEMPLATES: {DATASET.NAME: hand-written prompt}, where its authors differ from CoOp's.
    trains: False where there is nothing to train. NEEDS_FEATURES: its head is built from features.
    LEARNS_PROMPTS: its head is a PromptHead whose text features training moves. TUNES_IMAGES: its head has
    encode_image(images), an image tower that training changes; no feature bank can stand for images. USES_CLASS_MEANS:
    it asks plug-ins for class_means(), means of synthetic features in the place of texts. STEPS_DRAW: its loss draws
    random numbers, so nothing is drawn ahead of it. REFUSES: {plug-in: why it cannot have it}.
    PLUGINS are those of a composed class, <Method>_<PLUGIN>.
    """

    SECTION = None
    OPTIONS: dict[str, object] = {"PREC": "auto"}  # fp32, fp16, bf16, amp; auto: fp16 on a GPU, fp32 on a CPU
    LIMITS: dict[str, object] = {"PREC": PRECISIONS}
    MODEL_NAME = "head"
    REVISION = 1
    TEMPLATES: dict[str, str] = {}
    NEEDS_FEATURES = False
    LEARNS_PROMPTS = False
    TUNES_IMAGES = False
    USES_CLASS_MEANS = False
    STEPS_DRAW = False
    REFUSES: dict[str, str] = {}
    PLUGINS: tuple[type, ...] = ()
    trains = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        check_overrides(cls, FeatureTrainer, WITHOUT_EFFECT)

    @classmethod
    def reads(cls, cfg) -> list[type]:
        """Other trainers whose options, and whose REVISION, a run of this configuration depends on."""
        return []

    # ---- what a method provides

    def build_head(self, classnames: list[str]) -> nn.Module:
        """-> unit features [B, d] -> logits [B, C] over `classnames`. `head.for_classes(names)` gives the head over
        other names."""
        raise NotImplementedError

    def compute_loss(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """-> (loss, logits [B, C]) of a batch; cross-entropy unless the method says otherwise. `self.batch` is the
        loader's batch."""
        logits = self.head(features)
        return F.cross_entropy(logits.float(), labels), logits

    def build_optimizer(self, head: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of the head's parameters: OPTIM's."""
        return build_optimizer(head, self.cfg.OPTIM)

    def make_loader(self):
        """The training batches of an epoch: of images with FEATURES.VIEWS 0, else of features."""
        if not self.task.real_classnames():
            return next(loader for plugin in self.plugins if (loader := plugin.loader()) is not None)
        if not self.on_features:
            return ImageLoader(self.cfg, self.dataset.train_x)
        loader = self.cfg.DATALOADER.TRAIN_X
        return FeatureLoader(self.train_set, loader.BATCH_SIZE, loader.DROP_LAST)

    def own_results(self) -> dict:
        """What results.json keeps of the method under "extra"."""
        return {}

    # ---- the life of a run

    def train(self):
        self.open_data(training=True)
        self.identity = run.identity_of(self)
        if run.is_done(self):
            return
        run.save_config(self.cfg)
        if not self.cfg.TEST.NO_TEST:
            with self.watch.stage("features"):
                metrics.require_images(self)
        self.prepare()
        self.build()
        self.fit()
        self.finish(chosen=self.tune())

    def prepare(self):
        """Plug-ins train or load what they need."""
        if self.NEEDS_FEATURES and self.cfg.DATASET.NUM_SHOTS == 0:
            raise UserError(f"{type(self).__name__} is made of training images: give DATASET.NUM_SHOTS 1 or more")
        for plugin in self.plugins:
            plugin.prepare()

    def build(self):
        """The head over `head_classnames()`, new or from the run MODEL.INIT_WEIGHTS."""
        names, start = self.head_classnames(), self.cfg.MODEL.INIT_WEIGHTS
        self.set_head(checkpoints.head_of_run(self, start, names) if start else self.build_head(names), names)
        if type(self).trains and not self.trains and not start:
            name = type(self).__name__
            raise UserError(f"TASK {self.cfg.TASK} trains nothing: give a source run of {name} with MODEL.INIT_WEIGHTS")

    def fit(self):
        """The training loop, from the newest checkpoint on where there is one. On a CPU a run that was killed and
        continued ends with the parameters and metrics of one that was not."""
        if not self.trains:
            print(f"{type(self).__name__} has nothing to train")
            self.max_epoch = 0
        self.start_epoch = self.resume_model_if_exist(self.cfg.RESUME or self.output_dir)
        if self.cfg.RESUME and not self.start_epoch:
            raise UserError(f"RESUME names {self.cfg.RESUME}, which holds no checkpoint to continue from")
        self.epoch = max(self.start_epoch - 1, 0)
        loader, optim = self.make_loader() if self.trains else [], self.cfg.OPTIM
        for plugin in self.plugins:
            loader = plugin.batches(loader)
        self.num_batches = len(loader)
        if self.output_dir:
            self.init_writer(os.path.join(self.output_dir, "tensorboard"))
        span = {"initial": self.start_epoch, "total": self.max_epoch, "disable": self.hides_bars}
        with self.rolling, tqdm(desc="training", unit="epoch", **span) as bar:
            for epoch in range(self.start_epoch, self.max_epoch):
                self.epoch = epoch
                seed_all(self.cfg.SEED, "finetune", epoch)
                started, steps, rate = time.perf_counter(), [], self.get_current_lr()
                self.head.train()
                one_pass = getattr(self.head, "one_pass", nullcontext)  # in it texts are encoded once
                for self.batch_idx, self.batch in enumerate(loader):
                    features, labels = self.features_of(self.batch)
                    for plugin in self.plugins:
                        features, labels = plugin.batch(features, labels)
                    with torch.autocast(self.device.type, enabled=self.autocast), one_pass():
                        loss, logits = self.compute_loss(features, labels)
                        penalties = {}
                        for plugin in self.plugins:
                            penalties.update(plugin.penalty(features, labels, logits))
                    loss = sum(penalties.values(), loss)
                    self.update(loss)
                    if optim.SCHEDULE_PER == "step":
                        self.update_lr()
                    terms = {"loss": loss, "acc": compute_accuracy(logits.detach(), labels)[0], **penalties}
                    steps.append({name: value.detach().reshape(()) for name, value in terms.items()})
                if optim.SCHEDULE_PER == "epoch":
                    self.update_lr()
                self.watch["finetune"] += time.perf_counter() - started
                means = self.means_of(steps)
                self.history.append(means)
                self.log_epoch(means, rate, time.perf_counter() - started)
                checkpoints.keep(self)
                bar.update()
        if self.keeps_best:
            checkpoints.load_head(self, self.output_dir)
            self.selection = "best epoch on few-shot validation of the trained classes"
        self.see_through_head()
        print("Finish training")

    def tune(self) -> str:
        """Hyper-parameters on few-shot validation images of trained classes -> a phrase for results.json that says what
        was chosen on which images; "" where nothing was."""
        return "; ".join(filter(None, [plugin.tune() for plugin in self.plugins]))

    def finish(self, chosen: str = ""):
        """The checkpoint as it now is (`chosen` says what was tuned), evaluation, results.json."""
        if chosen:
            self.selection += f"; {chosen}"
        for plugin in self.plugins:
            plugin.save(self.output_dir)
        self.temperature = metrics.calibrate(self)
        if not self.trains:
            self.save_model(-1, self.output_dir)
        elif self.output_dir:
            tuned = {"state_dict": self.head.state_dict(), "selection": self.selection}
            self.checkpoints.rewrite(**tuned, temperature=self.temperature)
        if not self.cfg.TEST.NO_TEST:
            with self.watch.stage("evaluate"):
                results = metrics.evaluate(self)
            if self.output_dir:
                files.write_results(os.path.join(self.output_dir, files.RESULTS), run.record(self, *results))
        self.close_writer()

    # ---- training

    def set_head(self, head: nn.Module, classnames: list[str], training: bool = True):
        """Makes `head` the model that is trained, saved and evaluated; without `training` it gets no optimiser."""
        self.head, self.trained_classnames = head.to(self.device), list(classnames)
        optimizer = scheduler = None
        if self.trains and training:
            optimizer = self.build_optimizer(self.head)
            scheduler = build_schedule(optimizer, self.cfg.OPTIM, lambda: len(self.make_loader()))
        self._models.pop(self.MODEL_NAME, None)  # a loaded head replaces the initial one
        self.register_model(self.MODEL_NAME, self.head, optimizer, scheduler)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.autocast)
        learnable = sum(p.numel() for p in self.head.parameters() if p.requires_grad)
        print(f"{type(self).__name__}: {len(classnames)} classes, {learnable:,} learnable parameters")
        if training:
            for plugin in self.plugins:
                plugin.attach(self.head)

    def features_of(self, batch: dict) -> tuple[Tensor, Tensor]:
        """-> unit features [B, d] fp32, labels [B]; images (FEATURES.VIEWS 0) are encoded on the way. Synthetic rows
        that plug-ins made ahead of the step stand behind the real ones."""
        labels = batch["label"].to(self.device)
        features = batch["features"] if "features" in batch else self.encode_image(batch["img"])
        if "synthetic" not in batch:
            return features, labels
        # no image belongs to a synthetic row: where a head has several features of an image, it stands for each
        synthetic = batch["synthetic"].repeat(1, features.shape[1] // batch["synthetic"].shape[1])
        return torch.cat([features, synthetic]), torch.cat([labels, batch["synthetic_label"]])

    def frozen_features(self) -> Tensor:
        """Unit features [B, d] of the batch's images by the frozen tower; of none [0, d] in a batch without images."""
        if "img" not in self.batch:
            return self.backbone.text_projection[:0].float()
        return self.encode_frozen(self.batch["img"])

    def update(self, loss: Tensor):
        """One step of the optimiser; the scaler leaves the loss as it is unless PREC is amp."""
        optimizer = self._optims[self.MODEL_NAME]
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(optimizer)
        self.scaler.update()

    def means_of(self, steps: list[dict[str, Tensor]]) -> dict[str, float]:
        """The mean of each name over the steps of an epoch: the one place of an epoch that waits for the device. Raises
        UserError where a value or a parameter is not finite, so that no checkpoint holds it."""
        values = {name: torch.stack([step[name] for step in steps]) for name in steps[0]}
        checked = values | {f"parameter {name}": value for name, value in self.head.named_parameters()}
        broken = [name for name, value in checked.items() if not value.isfinite().all()]
        if broken:
            raise UserError(
                f"{type(self).__name__}: the {broken[0]} is not finite at epoch {self.epoch + 1}. Last good one: "
                f"{self.checkpoints.newest() or 'none yet'}. A smaller OPTIM.LR is the usual cure"
            )
        return {name: sum(value.tolist()) / len(steps) for name, value in values.items()}

    def log_epoch(self, means: dict[str, float], rate: float, seconds: float):
        """One line, which a progress bar stays below, and TensorBoard's curves."""
        terms = " ".join(f"{name} {value:.4f}" for name, value in means.items())
        tqdm.write(f"epoch [{self.epoch + 1}/{self.max_epoch}] {terms} lr {rate:.4e} ({seconds:.1f} s)")
        for name, value in {**means, "lr": rate}.items():
            self.write_scalar(f"train/{name}", value, self.epoch)

    @property
    def keeps_best(self) -> bool:
        """Whether the epoch that is best on validation counts, not the last."""
        return self.trains and self.cfg.TEST.FINAL_MODEL == "best_val" and not self.cfg.TEST.NO_TEST


class PromptTrainer(FeatureTrainer):
    """A method that learns a context of prompts. `CHUNK`: class names per text-encoder pass with recomputation, to
    bound memory; 0: by free memory."""

    LEARNS_PROMPTS = True
    OPTIONS = {
        "N_CTX": 16,  # context length
        "CTX_INIT": "",  # words to start from; their tokens fix the context length
        "CHUNK": 0,
    }
    LIMITS = {"N_CTX": Range(1), "CHUNK": Range(0)}

    def initial_context(self, classes: int | None = None) -> Tensor:
        """Where the learned context starts [n, w]; [classes, n, w] for class-specific ones. Raises UserError where an
        N_CTX that was set differs from the length of CTX_INIT."""
        words, length = self.options.CTX_INIT, self.options.N_CTX
        ctx = initial_context(self.backbone, words, length, classes)
        if words and length not in (ctx.shape[-2], options_of(type(self))["N_CTX"]):
            raise UserError(f"N_CTX is {length}, but CTX_INIT '{words}' is {ctx.shape[-2]} tokens: leave one out")
        print(f"context: '{words}'" if words else f"context: random, {tuple(ctx.shape)}")
        return ctx
