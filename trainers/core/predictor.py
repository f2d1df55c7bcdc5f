"""A frozen backbone, a task's data, and a head over class names: opened, loaded, asked.

This is a trainer without its training (trainer.py), and what evaluation and prediction need of it.
"""

import os
import time
from collections import Counter
from contextlib import contextmanager

import torch
from dassl.engine import TrainerX
from dassl.evaluation import build_evaluator
from torch import Tensor, nn

from . import checkpoints, files, metrics, run, tasks
from .checkout import own_config
from .checkpoints import Checkpoints, Rolling
from .config import check_options, parts_of, resolve_precision
from .files import ClassesUnsupported, UserError
from .images import FeatureData
from .model.backbone import apply_preprocessing, load_backbone
from .model.prompts import templates_for


class Stopwatch(Counter):
    """Seconds per stage of a run; a stage may be entered several times."""

    @contextmanager
    def stage(self, name):
        start = time.perf_counter()
        yield
        self[name] += time.perf_counter() - start


class Predictor(TrainerX):
    """The methods and attributes that a FeatureTrainer has beside its training; its class attributes stand there."""

    # What gives `task` and `data`, and perhaps the backbone, in the place of a reader and a store on disk: the API, or
    # the ensemble of a member.
    host: "Predictor | None" = None

    # ---- set-up: Dassl's constructor calls the first two

    def build_data_loader(self):
        """Opens the backbone. The data set is opened when it is known what for: training and evaluation take other
        classes of it."""
        host = self.host
        self.watch = host.watch if host else Stopwatch()
        self.hides_bars = getattr(host, "hides_bars", None)  # True: no progress bars
        self.history, self.batch = [], {}  # history: the means of each epoch
        self.versions = run.versions()  # now, as files may change under a long run
        self.decisions = None  # of the last joint evaluation: (evaluation, answers [N], labels [N])
        self.identity, self.origin = {}, {}  # origin: what the caller adds to results.json, as its command line
        self.task, self.head, self.lab2cname, self.selection = None, None, {}, "last epoch"
        self.cfg = own_config(self.cfg, self.SECTION)
        self.temperature = 1.0  # of the probabilities that are shown; no decision depends on it
        check_options(self.cfg, parts_of(type(self)))
        self.plugins = [plugin(self) for plugin in self.PLUGINS]
        self.checkpoints = Checkpoints(self.output_dir, self.MODEL_NAME)
        self.rolling = Rolling(lambda state: self.checkpoints.write(state, name=checkpoints.ROLLING))
        precision = self.options.get("PREC", "auto")
        dtype, self.autocast = resolve_precision(precision, self.device, f"TRAINER.{self.SECTION}.PREC")
        with self.watch.stage("backbone"):
            self.backbone = host.backbone if host else load_backbone(self.cfg, dtype, self.device)
        apply_preprocessing(self.cfg, self.backbone)

    def build_model(self):
        """Nothing: a head may need features or a generator, so it is built when training starts, or a model loaded."""

    @property
    def options(self):
        """The method's own config node; empty for a trainer that declares none."""
        return self.cfg.TRAINER[self.SECTION] if self.SECTION else {}

    def open_data(self, training: bool):
        """The task's data set: to train on, or as the options ask for it."""
        if self.task is not None:
            return
        if self.TUNES_IMAGES and (self.host or self.on_features):
            raise UserError(
                f"{type(self).__name__} tunes the image tower: it needs images, not stored features, and cannot be a "
                "member of an ensemble. Give --root FOLDER with the data set in it, and FEATURES.VIEWS 0"
            )
        if self.host:
            self.task, self.data = self.host.task, self.host.data
        else:
            self.task = tasks.build_task(self.cfg, training)
            self.cfg = self.task.cfg  # with the classes that it took
            self.data = FeatureData(self, self.task)
        reason = getattr(self.dataset, "no_test", "")  # a data set may say why, and can be trained on
        if not self.dataset.test and not (training and reason):
            raise UserError(f"{self.cfg.DATASET.NAME} has no test images: nothing could be evaluated. {reason}")
        self.evaluator = build_evaluator(self.cfg, lab2cname=self.dataset.lab2cname)
        self.see_through_head()
        if training:
            self.trains = self.trains and bool(self.task.real_classnames() or self.extra_names())
            self.selection = "last epoch" if self.trains else "nothing trained"

    # ---- classes, prompts and features

    @property
    def dataset(self):
        return self.task.dataset

    @property
    def templates(self) -> list[str]:
        """The hand-written prompts in force: DATASET.TEMPLATE, else the method's own, else the reader's, else CoOp's
        for this data set."""
        name, of_reader = self.cfg.DATASET.NAME, getattr(self.task and self.dataset, "template", None)
        return templates_for(name, self.cfg.DATASET.TEMPLATE or self.TEMPLATES.get(name) or of_reader)

    def announced_templates(self) -> list[str]:
        """The same, with a line that says which."""
        print(f"prompt: {' | '.join(self.templates)}")
        return self.templates

    def extra_names(self) -> list[str]:
        """Names that plug-ins put behind the real ones."""
        return [name for plugin in self.plugins for name in plugin.extra_names()]

    def new_classnames(self) -> list[str]:
        """The names without images that the run knows: those that its head is built over, else the task's."""
        return self.extra_names() or self.task.label_only_classnames()

    def head_classnames(self) -> list[str]:
        """The names that the head is trained over: those with training images, then the plug-ins'; all names of a
        target that no image of is trained on."""
        return self.task.real_classnames() + self.extra_names() or list(self.dataset.classnames)

    @property
    def on_features(self) -> bool:
        """Whether batches are of features; else of images, augmented and encoded step by step."""
        return self.cfg.FEATURES.VIEWS != 0 or bool(self.cfg.FEATURES.BANK)

    @property
    def train_set(self):
        """FeatureSet of the labelled training images."""
        return self.data.train_set

    def encode_image(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> features [B, d] fp32 as the head takes them: of the frozen tower without gradients, or
        of the tower as the head tunes it."""
        if not hasattr(self.head, "encode_image"):
            return self.encode_frozen(images)
        with torch.autocast(self.device.type, enabled=self.autocast):
            return self.head.encode_image(images.to(self.device, self.backbone.dtype)).float()

    @torch.no_grad()
    def encode_frozen(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> unit features [B, d] fp32 of the frozen tower."""
        return self.backbone.encode_image(images.to(self.device, self.backbone.dtype)).float()

    def see_through_head(self):
        """From here on the features of evaluated images are those of the image tower as the head tunes it, where it
        does; a generator, which is trained before there is a head, has those of the frozen one."""
        if self.task is not None and hasattr(self.head, "encode_image"):
            self.data.encode_with(self.encode_image)

    def support_set(self):
        """The few-shot FeatureSet that a head may be built from (a cache of them), as plug-ins made it."""
        support = self.train_set if self.task.real_classnames() else None
        for plugin in self.plugins:
            support = plugin.support(support)
        return self.train_set if support is None else support  # a target without images says so

    def class_means(self, names: list[str]) -> Tensor | None:
        """Unit means of synthetic features of classes [C, d], where a plug-in makes them."""
        found = (plugin.class_means(names) for plugin in self.plugins)
        return next((means for means in found if means is not None), None)

    def search_set(self):
        """-> (FeatureSet of real images of the trained classes to choose hyper-parameters on, what they are)."""
        return self.data.search_set()

    # ---- checkpoints, under Dassl's names

    def save_model(self, epoch, directory, is_best=False, val_result=None, model_name=""):
        """Writes the state after `epoch` (0-based): model-N.pth.tar with N = epoch + 1 epochs done, or `model_name`."""
        state = checkpoints.state_of(self, epoch + 1, val_result)
        Checkpoints(directory, self.MODEL_NAME).write(state, name=model_name, is_best=is_best)

    def save(self, directory: str):
        """Writes what load_model reads: the checkpoint, and the state of the plug-ins."""
        self.save_model(self.max_epoch - 1 if self.trains else -1, directory)
        for plugin in self.plugins:
            plugin.save(directory)

    def synthetic(self, names: list[str], per_class: int) -> Tensor | None:
        """Synthetic features of classes that have only a name [len(names) * per_class, d], from the first plug-in that
        makes some."""
        found = (plugin.synthetic(names, per_class) for plugin in self.plugins)
        return next((features for features in found if features is not None), None)

    def head_from_checkpoint(self, classnames: list[str], state_dict: dict) -> nn.Module:
        """The head over `classnames` with the saved parameters; a method whose shapes depend on data overrides it."""
        head = self.build_head(classnames)
        wanted = {*head.state_dict()}  # stock CoOp saves token buffers too
        try:
            head.load_state_dict({name: value for name, value in state_dict.items() if name in wanted})
        except RuntimeError as error:
            raise UserError(f"the checkpoint does not fit {type(self).__name__} as configured: {error}") from None
        return head

    def load_model(self, directory, epoch=None, overridden=()):
        """Loads the model of `directory` (an output folder): of `epoch`, else the best on validation, else the newest;
        without a directory, the model as initialised.

        Raises UserError where there is none, it is damaged, it does not fit, or it was trained with other options than
        the trainer has; those whose keys are `overridden` may differ.
        """
        if directory:
            self.loaded_from = checkpoints.load_head(self, directory, epoch, overridden)
            self.see_through_head()
            for plugin in self.plugins:
                plugin.load(directory)
        elif self.NEEDS_FEATURES or self.plugins:
            raise UserError(f"{type(self).__name__} needs --model-dir, the output folder of a run that trained it")
        else:
            print("load_model: no --model-dir given, evaluating the model as initialised")
            self.open_data(training=False)
            names = self.head_classnames()
            self.set_head(self.build_head(names), names, training=False)

    def resume_model_if_exist(self, directory):
        """Continues from the newest checkpoint of `directory` -> the epoch to start with, 0 where there is nothing to
        continue."""
        return checkpoints.resume(self, directory)

    # ---- evaluation

    def method_head(self, classnames):
        """The method's head over `classnames`; ClassesUnsupported with the reason where it cannot."""
        if list(classnames) == self.trained_classnames:
            return self.head
        if not hasattr(self.head, "for_classes"):
            name = type(self).__name__
            raise ClassesUnsupported(f"{name} was trained over other classes, and its head has no for_classes")
        return self.head.for_classes(list(classnames)).to(self.device)

    def head_for(self, classnames: list[str], method_head=None) -> nn.Module:
        """What evaluates `classnames`: the method's head over them, as plug-ins make it. `method_head(classnames)` may
        stand for the trainer's own."""
        try:
            head, reason = (method_head or self.method_head)(classnames), None
        except ClassesUnsupported as error:
            head, reason = None, error
        for plugin in self.plugins:  # one may know what the method does not
            head = plugin.head_for(head, list(classnames))
        if head is None:
            raise reason
        return head

    def logits(self, head: nn.Module, features: Tensor) -> Tensor:
        """Logits [N, C] of unit features [N, d], in batches."""
        return metrics.logits_of(head, features, self.autocast)

    def probabilities(self, head: nn.Module, features: Tensor) -> Tensor:
        """What a person is shown [N, C]: of logits over the run's temperature, which changes no decision."""
        return (self.logits(head, features) / self.temperature).softmax(1)

    def test(self, split=None):
        """Evaluates the dataset's test set (or `val`) over the dataset's class names and prints Dassl's result lines.
        -> accuracy in percent."""
        self.open_data(training=False)
        return metrics.on_split(self, split or self.cfg.TEST.SPLIT)

    def evaluate_only(self):
        """CoOp's --eval-only: the loaded model on the dataset's (sub)classes; results-<subset>.json, never
        results.json. Results of another evaluation there are set aside."""
        self.test()
        if self.output_dir:
            path = os.path.join(self.output_dir, f"results-{self.task.subset}.json")
            self.identity = {**run.identity_of(self), "model": self.loaded_from}
            run.keep_older(path, self.identity)
            files.write_results(path, run.record(self, dict(self.last_results)))
