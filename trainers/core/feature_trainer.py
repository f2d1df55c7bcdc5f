"""The base class of every method here: training and evaluation on frozen image features.

A method provides `build_head(classnames)`: an nn.Module from unit image features [B, d] to logits [B, C] over these
names, logit scale included. Data, features, optimiser, precision, checkpoints, resuming, evaluation, plug-ins and
results.json are here.

    class LinearProbe(FeatureTrainer):
        def build_head(self, classnames):
            return nn.Linear(self.backbone.embed_dim, len(classnames))
"""

import os
import time
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from dassl.engine import TrainerX
from dassl.evaluation import build_evaluator
from dassl.metrics import compute_accuracy
from dassl.optim import build_optimizer
from torch import Tensor, nn

from .config import resolve_precision
from .errors import ClassesUnsupported, UserError
from .features.loader import FeatureLoader, image_loader
from .model.backbone import apply_preprocessing, load_backbone
from .randomness import seed_all
from .run import evaluation, results, resuming, tasks
from .run.checkpoints import BEST, Checkpoints
from .run.data import FeatureData
from .run.schedule import build_schedule


class FeatureTrainer(TrainerX):
    """Class attributes that a method may set: SECTION (its node under cfg.TRAINER), MODEL_NAME (its checkpoint folder),
    trains (False: there is nothing to train), NEEDS_FEATURES (its head is built from features), LEARNS_PROMPTS (its
    head is a PromptHead whose text features training moves), REFUSES ({plug-in: why it cannot have it}). PLUGINS are
    those of a composed class, <Method>_<PLUGIN>."""

    SECTION = None
    MODEL_NAME = "head"
    NEEDS_FEATURES = False
    LEARNS_PROMPTS = False
    REFUSES: dict[str, str] = {}
    PLUGINS: tuple[type, ...] = ()
    trains = True

    # ---- what a method provides

    def build_head(self, classnames: list[str]) -> nn.Module:
        """-> unit features [B, d] -> logits [B, C] over `classnames`. `head.for_classes(names)` gives the head over
        other names."""
        raise NotImplementedError

    def compute_loss(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """-> (loss, logits [B, C]) of a batch; cross-entropy unless the method says otherwise."""
        logits = self.head(features)
        return F.cross_entropy(logits.float(), labels), logits

    def build_optimizer(self, head: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of the head's parameters: OPTIM's."""
        return build_optimizer(head, self.cfg.OPTIM)

    def make_loader(self):
        """The training batches of an epoch: of images with FEATURES.VIEWS 0, else of features."""
        if not self.task.real_classnames():
            return next(found for plugin in self.plugins if (found := plugin.loader()) is not None)
        if self.cfg.FEATURES.VIEWS == 0 and not self.cfg.FEATURES.BANK:
            return image_loader(self.cfg, self.dataset.train_x)
        loader = self.cfg.DATALOADER.TRAIN_X
        return FeatureLoader(self.train_set, loader.BATCH_SIZE, loader.DROP_LAST)

    def own_results(self) -> dict:
        """What results.json keeps of the method under "extra"."""
        return {}

    # ---- the life of a run

    def train(self):
        self.open_data(training=True)
        results.save_config(self.cfg)
        self.prepare()
        self.build()
        self.fit()
        self.finish(chosen=self.tune())

    def open_data(self, training: bool):
        """The task's data set: to train on, or as the options ask for it."""
        if self.task is not None:
            return
        self.task = tasks.build_task(self.cfg, training)
        self.cfg = self.task.cfg  # with the classes that it took
        if not self.dataset.test:
            raise UserError(f"{self.cfg.DATASET.NAME} has no test images: nothing could be evaluated")
        self.num_classes, self.lab2cname = self.dataset.num_classes, self.dataset.lab2cname
        self.evaluator = build_evaluator(self.cfg, lab2cname=self.lab2cname)
        self.data = FeatureData(self.cfg, self.task, self.backbone, self.device, self.watch)
        if training:
            self.trains = self.trains and bool(self.task.real_classnames() or self.extra_names())
            self.selection = "last epoch" if self.trains else "nothing trained"

    def prepare(self):
        """Plug-ins train or load what they need."""
        for plugin in self.plugins:
            plugin.prepare()

    def build(self):
        """The head over `head_classnames()`, new or from the run MODEL.INIT_WEIGHTS."""
        names, start = self.head_classnames(), self.cfg.MODEL.INIT_WEIGHTS
        self.set_head(resuming.head_of_run(self, start, names) if start else self.build_head(names), names)
        if type(self).trains and not self.trains and not start:
            raise UserError(
                f"TASK {self.cfg.TASK} applies what {type(self).__name__} learned in a source run: "
                "give its output folder with MODEL.INIT_WEIGHTS"
            )

    def fit(self):
        """Dassl's loop: before_train resumes from a checkpoint, then epoch after epoch."""
        if not self.trains:
            print(f"{type(self).__name__} has nothing to train")
            self.max_epoch = 0
        super().train()
        if self.trains and self.cfg.TEST.FINAL_MODEL == "best_val":
            resuming.load_head(self, self.output_dir)
            self.selection = "best epoch on few-shot validation of the trained classes"

    def tune(self) -> str:
        """Hyper-parameters on few-shot validation images of trained classes -> a phrase for results.json that says what
        was chosen on which images; "" where nothing was."""
        return "; ".join(filter(None, [plugin.tune() for plugin in self.plugins]))

    def finish(self, chosen: str = ""):
        """The checkpoint as it now is (`chosen` says what was tuned), evaluation, results.json."""
        if chosen:
            self.selection += f"; {chosen}"
        if not self.trains:
            self.save_model(-1, self.output_dir)
        elif chosen:
            self.checkpoints.rewrite_final(
                self.cfg.TEST.FINAL_MODEL, state_dict=self.head.state_dict(), selection=self.selection
            )
        for plugin in self.plugins:
            plugin.save(self.output_dir)
        if not self.cfg.TEST.NO_TEST:
            with self.watch.stage("evaluate"):
                found = evaluation.evaluate(self)
            if self.output_dir:
                results.write(os.path.join(self.output_dir, "results.json"), results.record(self, *found))
        self.close_writer()

    # ---- set-up: Dassl's constructor calls these two

    def build_data_loader(self):
        """Opens the backbone. The data set is opened when it is known what for: training and evaluation take other
        classes of it."""
        self.watch, self.history, self._steps = results.Stopwatch(), [], []  # history: means of each epoch
        self.versions = results.versions()  # now, as files may change under a long run
        self.task = self.dm = self.train_loader_x = self.train_loader_u = self.val_loader = None
        self.num_classes, self.lab2cname, self.selection = 0, {}, "last epoch"
        self.plugins = [plugin(self) for plugin in self.PLUGINS]
        self.checkpoints = Checkpoints(self.output_dir, self.MODEL_NAME)
        precision_key = f"TRAINER.{self.SECTION}.PREC" if self.SECTION else "PREC"
        dtype, self.autocast = resolve_precision(self.options.get("PREC", "auto"), self.device, precision_key)
        with self.watch.stage("backbone"):
            self.backbone = load_backbone(self.cfg, dtype, self.device)
        apply_preprocessing(self.cfg, self.backbone)

    def build_model(self):
        """Nothing: a head may need features or a generator, so it is built when training starts, or a model loaded."""

    @property
    def options(self):
        """The method's own config node; empty for a trainer that declares none."""
        return self.cfg.TRAINER[self.SECTION] if self.SECTION else {}

    # ---- classes and features

    @property
    def dataset(self):
        return self.task.dataset

    def extra_names(self) -> list[str]:
        """Names that plug-ins put behind the real ones."""
        return [name for plugin in self.plugins for name in plugin.extra_names()]

    def head_classnames(self) -> list[str]:
        """The names that the head is trained over: those with training images, then the plug-ins'; all names of a
        target that no image of is trained on."""
        return self.task.real_classnames() + self.extra_names() or list(self.dataset.classnames)

    @property
    def train_set(self):
        """FeatureSet of the labelled training images."""
        return self.data.train_set

    def support_set(self):
        """The few-shot FeatureSet that a head may be built from (a cache of them), as plug-ins made it."""
        found = self.train_set if self.task.real_classnames() else None
        for plugin in self.plugins:
            found = plugin.support(found)
        return self.train_set if found is None else found  # a target without images says so

    def search_set(self):
        """-> (FeatureSet of real images of the trained classes to choose hyper-parameters on, what they are)."""
        return self.data.search_set()

    # ---- training

    def set_head(self, head: nn.Module, classnames: list[str], training: bool = True):
        """Makes `head` the model that is trained, saved and evaluated; without `training` it gets no optimiser."""
        self.head, self.trained_classnames = head.to(self.device), list(classnames)
        learnable = [p for p in self.head.parameters() if p.requires_grad]
        optimizer = scheduler = None
        if self.trains and training:
            if not learnable:
                raise UserError(
                    f"{type(self).__name__}: its head has no learnable parameter; set trains = False for a method "
                    "without training"
                )
            optimizer = self.build_optimizer(self.head)
            scheduler = build_schedule(optimizer, self._schedule())
        self._models.pop(self.MODEL_NAME, None)  # a loaded head replaces the initial one
        self.register_model(self.MODEL_NAME, self.head, optimizer, scheduler)
        self.scaler = torch.amp.GradScaler(self.device.type) if self.autocast else None
        print(
            f"{type(self).__name__}: {len(classnames)} classes, {sum(p.numel() for p in learnable):,} learnable "
            "parameters"
        )
        if training:
            for plugin in self.plugins:
                plugin.attach(self.head)

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

    def before_train(self):
        if self.trains:
            self.train_loader_x = self.make_loader()
        super().before_train()

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
        """One step: the batch as plug-ins make it, the method's loss, the plug-ins' penalties, the update."""
        features, labels = self.parse_batch_train(batch)
        for plugin in self.plugins:
            features, labels = plugin.batch(features, labels)
        one_pass = self.head.one_pass() if hasattr(self.head, "one_pass") else nullcontext()
        terms = {}
        with torch.autocast(self.device.type, enabled=self.autocast), one_pass:
            loss, logits = self.compute_loss(features, labels)
            for plugin in self.plugins:
                terms.update(plugin.penalty(features, labels, logits))
        for value in terms.values():
            loss = loss + value
        if not torch.isfinite(loss):
            raise UserError(self._non_finite(loss))
        if self.scaler is None:
            self.model_backward_and_update(loss)
        else:
            self.model_zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self._optims[self.MODEL_NAME])
            self.scaler.update()
        if self.batch_idx + 1 == self.num_batches or self.cfg.OPTIM.SCHEDULE_PER == "step":
            self.update_lr()
        found = {"loss": loss.item(), "acc": compute_accuracy(logits.detach(), labels)[0].item()}
        self._steps.append({**found, **{name: value.item() for name, value in terms.items()}})
        return self._steps[-1]

    def _non_finite(self, loss):
        return (
            f"{type(self).__name__}: the loss is {loss.item()} at epoch {self.epoch + 1}, step {self.batch_idx + 1} "
            f"of {self.num_batches} (lr {self.get_current_lr():.3g}); training stopped. "
            f"Last good checkpoint: {self.checkpoints.newest() or 'none yet'}. A smaller OPTIM.LR is the usual cure"
        )

    def after_epoch(self):
        self.watch.add("finetune", time.perf_counter() - self._epoch_started)
        if self._steps:
            self.history.append(
                {name: sum(step[name] for step in self._steps) / len(self._steps) for name in self._steps[0]}
            )
        if self.cfg.TEST.FINAL_MODEL == "best_val" and not self.cfg.TEST.NO_TEST:
            self._keep_best()
        if not all(torch.isfinite(p).all() for p in self.head.parameters()):
            return  # the next loss will say so; the last good checkpoint stays
        done, every = self.epoch + 1, self.cfg.TRAIN.CHECKPOINT_FREQ
        if done == self.max_epoch or (every > 0 and done % every == 0):
            self.save_model(self.epoch, self.output_dir)
        else:
            self.checkpoints.roll(lambda: resuming.state_of(self, done), self.cfg.TRAIN.CHECKPOINT_SECONDS)
        if done == self.max_epoch:
            self.checkpoints.drop_rolling()

    def _keep_best(self):
        if self.data.val_set is None:
            raise UserError(
                "TEST.FINAL_MODEL best_val needs validation images, and this dataset exposes none; use last_step"
            )
        predicted = self.logits(self.head, self.data.val_set.first()).argmax(1)
        accuracy = tasks.top1(predicted, self.data.val_set.labels)
        if accuracy > self.best_result:
            self.best_result = accuracy
            self.save_model(self.epoch, self.output_dir, model_name=BEST, val_result=accuracy)

    def after_train(self):
        print("Finish training")

    # ---- checkpoints, under Dassl's names

    def save_model(self, epoch, directory, is_best=False, val_result=None, model_name=""):
        """Writes the state after `epoch` (0-based): model-N.pth.tar with N = epoch + 1 epochs done, or `model_name`."""
        state = resuming.state_of(self, epoch + 1, val_result)
        Checkpoints(directory, self.MODEL_NAME).write(state, name=model_name, is_best=is_best)

    def head_from_checkpoint(self, classnames: list[str], state_dict: dict) -> nn.Module:
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

    def load_model(self, directory, epoch=None):
        """Loads the model of `directory` (an output folder): of `epoch`, else the best on validation, else the newest;
        without a directory, the model as initialised.

        Raises UserError where there is none, it is damaged, or it does not fit.
        """
        if directory:
            resuming.load_head(self, directory, epoch)
            for plugin in self.plugins:
                plugin.load(directory)
        elif self.NEEDS_FEATURES or self.plugins:
            raise UserError(
                f"{type(self).__name__} has no model before it has seen training features: give --model-dir, the "
                "output folder of a run"
            )
        else:
            print("load_model: no --model-dir given, evaluating the model as initialised")
            self.open_data(training=False)
            names = self.head_classnames()
            self.set_head(self.build_head(names), names, training=False)

    def resume_model_if_exist(self, directory):
        """Continues from the newest checkpoint of `directory`; -> the epoch to start with, 0 where there is nothing to
        continue. Raises UserError where the checkpoint was trained over other class names."""
        return resuming.resume(self, directory)

    # ---- evaluation

    def method_head(self, classnames):
        """The method's head over `classnames`; ClassesUnsupported with the reason where it cannot."""
        if list(classnames) == self.trained_classnames:
            return self.head
        if not hasattr(self.head, "for_classes"):
            raise ClassesUnsupported(
                f"{type(self).__name__} was trained over other classes, and its head has no for_classes"
            )
        return self.head.for_classes(list(classnames)).to(self.device)

    def head_for(self, classnames: list[str]) -> nn.Module:
        """What evaluates `classnames`: the method's head over them, as plug-ins make it."""
        head, reason = None, None
        try:
            head = self.method_head(classnames)
        except ClassesUnsupported as error:
            reason = error
        for plugin in self.plugins:  # one may know what the method does not
            head = plugin.head_for(head, list(classnames))
        if head is None:
            raise reason
        return head

    def logits(self, head: nn.Module, features: Tensor) -> Tensor:
        """Logits [N, C] of unit features [N, d], in batches."""
        return evaluation.logits_of(head, features, self.autocast)

    def test(self, split=None):
        """Evaluates the dataset's test set (or `val`) over the dataset's class names and prints Dassl's result lines.
        -> accuracy in percent."""
        self.open_data(training=False)
        split = split or self.cfg.TEST.SPLIT
        items = self.dataset.val if split == "val" and self.dataset.val else self.dataset.test
        found = self.data.plain(items)
        print(f"Evaluate on the *{split}* set")
        self.evaluator.reset()
        self.evaluator.process(self.logits(self.head_for(self.dataset.classnames), found.first()), found.labels)
        self.last_results = dict(self.evaluator.evaluate())
        for name, value in self.last_results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return list(self.last_results.values())[0]

    def evaluate_only(self):
        """CoOp's --eval-only: the loaded model on the dataset's (sub)classes; results-<subset>.json, never
        results.json."""
        self.test()
        if self.output_dir:
            path = os.path.join(self.output_dir, f"results-{self.task.subset}.json")
            results.write(path, results.record(self, dict(self.last_results)))
