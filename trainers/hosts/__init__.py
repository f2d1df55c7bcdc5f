"""SHIP, SAR and GATE for a Dassl trainer of somebody else's (docs/hosts.md).

`adapt(Trainer)` registers <Trainer>_SHIP and its like: subclasses that keep the trainer's model, loss L, optimiser,
loop, evaluation and checkpoints. Its model is built over base and new names. When its optimiser is about to step, the
gradients of its loss become those of

    (B L + M L_syn) / (B + M) + L_SAR,     L_syn = cross-entropy(s x~ . t, y~)

where x~, y~ are the M synthetic features and labels beside the batch's B images, t the unit text features of the
trainer's own model and s its logit scale. Where L is a cross-entropy, that is the mean over real and synthetic rows, as
with methods of our own. No image belongs to a synthetic feature, so it trains only what t depends on. With SHARE 0 (and
SAR's W 0) nothing is added, no name and no draw: the trainer trains as it does alone, bit for bit.
"""

import copy
from functools import cached_property
from itertools import combinations

import torch
import torch.nn.functional as F
from dassl.engine import TRAINER_REGISTRY, TrainerX
from torch import Tensor, nn

from ..core import FeatureTrainer
from ..core.files import UserError
from ..core.images import FeatureData
from ..core.randomness import preserved_randomness
from ..core.tasks import Task
from ..plugins import PLUGINS
from ..plugins.gate import GATE, GatedHead
from ..plugins.sar import SAR
from ..plugins.ship import SHIP
from .shapes import SHAPES, Shape

# Largest difference between a model's cosines and those of its text and image features: half precision's.
TOLERANCE = 0.01


class HostTask(Task):
    """The data set as the host has opened it; its new half is opened for the names alone."""

    def __init__(self, cfg, dataset):
        self.cfg, self.dataset = cfg, dataset


class Columns(nn.Module):
    """Some columns of the host's logits of the batch in hand, whatever the features are."""

    columns = slice(None)  # or which of them, a mask [C]

    def __init__(self, run):
        super().__init__()
        self.run = run

    def forward(self, features):
        return self.run.logits[:, self.columns]


class HostRun(FeatureTrainer):
    """What plug-ins ask of a trainer, answered for a `foreign` one, whose loop, model and checkpoints stay its own. The
    backbone is a frozen CLIP of ours beside the foreign model: the generator learns its features of the images."""

    STEPS_DRAW = True
    USES_TEXT_FEATURES = True  # as a head: its loss computes text_features() anyway
    decider = None  # what turns the foreign trainer's logits into the answer; made when it is first asked
    epoch = property(lambda self: self.foreign.epoch)
    batch_idx = property(lambda self: self.foreign.batch_idx)
    logit_scale = property(lambda self: self.foreign.SHAPE.logit_scale(self.model).float())

    def __init__(self, foreign):
        """Instead of Dassl's constructor, which would open the data set and make a model again."""
        self.foreign, self.cfg = foreign, foreign.cfg.clone()
        self.device, self.output_dir = foreign.device, foreign.output_dir
        self.build_data_loader()
        for key in ("PIXEL_MEAN", "PIXEL_STD", "SIZE", "INTERPOLATION"):
            if tuple(foreign.cfg.INPUT[key]) != tuple(self.cfg.INPUT[key]):
                raise UserError(
                    f"{type(self).__name__} would see other images than {self.backbone.name} expects: set INPUT.{key} "
                    f"to {self.cfg.INPUT[key]}"
                )
        self.task = HostTask(self.cfg, foreign.dm.dataset)
        self.data = FeatureData(self, self.task)
        self.head, self.terms = self, {}

    @property
    def model(self) -> nn.Module:
        model = self.foreign.model
        return model.module if isinstance(model, nn.DataParallel) else model

    # ---- training

    def prepare(self):
        name = type(self).__name__
        if SHIP in self.PLUGINS and self.cfg.TRAINER.SHIP.SHARE and not self.extra_names():
            raise UserError(
                f"{name}: no class has only a name: set DATASET.SUBSAMPLE_CLASSES base, or TRAINER.SHIP.NEW_CLASSES"
            )
        if SAR in self.PLUGINS and self.cfg.TRAINER.SAR.NAMES:
            raise UserError(f"{name}: its model encodes its own class names alone; leave TRAINER.SAR.NAMES out")
        with preserved_randomness():
            super().prepare()

    def encode(self, features: Tensor | None) -> Tensor:
        """Unit text features [C, d] of its model's names; [B, C, d] where they depend on `features` [B, d]."""
        with torch.autocast(self.device.type, enabled=getattr(self.foreign, "scaler", None) is not None):
            return F.normalize(self.foreign.SHAPE.text_features(self.model, features).float(), dim=-1)

    def text_features(self) -> Tensor:
        return self.texts

    def logits_of(self, features: Tensor) -> Tensor:
        """The foreign trainer's logits [B, C] of unit features [B, d], given `self.texts`."""
        texts = self.texts if self.texts.dim() == 3 else self.texts.expand(len(features), -1, -1)
        return self.logit_scale * torch.einsum("bd,bcd->bc", features, texts)

    def check(self, images: Tensor, theirs: Tensor, names: list[str]):
        """Raises UserError where the trainer's logits [B, C] of some images are not those of its text features."""
        name = type(self).__name__
        features = F.normalize(self.foreign.SHAPE.image_features(self.model, images).float(), dim=-1)
        with torch.enable_grad():
            self.texts = self.encode(features)
        ours, limit = self.logits_of(features), TOLERANCE * self.logit_scale
        over_names = ours.shape == theirs.shape == (len(images), len(names))
        if not over_names or (theirs.float() - ours).abs().max() > limit:
            raise UserError(
                f"{name}: its logits are not the scaled cosines of text_features and image_features over the "
                f"{len(names)} names of dm.dataset.classnames: it decides otherwise, or adapt() was given other "
                "functions than its model's"
            )
        if not self.texts.requires_grad:
            raise UserError(f"{name}: its text features depend on nothing that it trains")
        if self.texts.dim() == 3 and SAR in self.PLUGINS:
            raise UserError(f"{name} cannot have SAR: its text features depend on the image")

    def add_gradients(self, optimizer, *step):
        """Before a step of the foreign optimiser: the gradients of its loss become those of the joint loss."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        with torch.enable_grad():
            loss, self.terms = self.loss()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, added in zip(parameters, gradients, strict=True):
            if parameter.grad is not None:
                parameter.grad.mul_(1 - self.share)
            if added is not None:
                parameter.grad = added if parameter.grad is None else parameter.grad + added

    @property
    def share(self) -> float:
        """M / (B + M), of the synthetic rows among all of the batch."""
        rows = len(self.batch.get("synthetic", ()))
        return rows / (len(self.batch["label"]) + rows)

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """What is added to the foreign trainer's loss, and its terms."""
        features, terms, total = self.batch.get("synthetic"), {}, 0
        self.texts = self.encode(features)
        if features is not None:
            terms["synthetic"] = F.cross_entropy(self.logits_of(features), self.batch["synthetic_label"])
            total = self.share * terms["synthetic"]
        for plugin in self.plugins:
            penalties = plugin.penalty(features, None, None)
            total, terms = sum(penalties.values(), total), {**terms, **penalties}
        return total, {name: value.item() for name, value in terms.items()}

    # ---- deciding

    def method_head(self, names) -> Columns:
        return Columns(self)

    def decide(self, logits: Tensor, images: Tensor) -> Tensor:
        """The foreign trainer's logits [B, C] of images, as plug-ins answer."""
        self.logits = logits.float()
        if self.decider is None:
            self.decider = self.head_for(list(self.dataset.classnames))
            if isinstance(self.decider, GatedHead):
                self.decider.base.columns = self.decider.is_base
                self.decider.new.columns = ~self.decider.is_base
        return logits if isinstance(self.decider, Columns) else self.decider(self.encode_frozen(images))


class Hosted:
    """Stands in front of a foreign trainer in a class that `adapt` makes."""

    SHAPE: Shape
    PLUGINS: tuple[type, ...] = ()
    RUN: type[HostRun]
    is_joint = False  # whether its steps are those of the joint loss

    @cached_property
    def guests(self) -> HostRun:
        with preserved_randomness():
            return self.RUN(self)

    def before_train(self):
        options = self.cfg.TRAINER
        if (SHIP in self.PLUGINS and options.SHIP.SHARE) or (SAR in self.PLUGINS and options.SAR.W):
            self.take_in(self.guests)
        super().before_train()

    def take_in(self, run: HostRun):
        """Makes the model over all names, and lets plug-ins into batches and steps."""
        name = type(self).__name__
        run.prepare()
        names = run.head_classnames()
        if run.extra_names():
            if type(self).test.__module__.partition(".")[0] != "dassl" and not self.cfg.TEST.NO_TEST:
                raise UserError(f"{name} has its own test(), over all names: set TEST.NO_TEST True, use --eval-only")
            self.build_over(names)
        optimizers = [optimizer for optimizer in self._optims.values() if optimizer is not None]
        if not optimizers:
            raise UserError(f"{name}: it registers no optimiser, by which synthetic features could train it")
        self.set_model_mode("eval")
        shown = self.test_loader.dataset
        images = torch.stack([shown[i]["img"] for i in range(min(2, len(shown)))]).to(self.device)
        with preserved_randomness(), torch.no_grad():
            run.check(images, super().model_inference(images), names)
        for plugin in run.plugins:
            self.train_loader_x = plugin.batches(self.train_loader_x)
        for optimizer in optimizers:
            optimizer.register_step_pre_hook(run.add_gradients)
        self.is_joint = True

    def build_over(self, names: list[str]):
        """build_model() again, over other names than the data set's."""
        dataset = self.dm.dataset
        self.dm.dataset = copy.copy(dataset)
        self.dm.dataset._classnames, self.dm.dataset._num_classes = names, len(names)
        self.dm.dataset._lab2cname = dict(enumerate(names))
        for table in (self._models, self._optims, self._scheds):
            table.clear()
        self.build_model()
        self.dm.dataset = dataset

    def forward_backward(self, batch):
        if not self.is_joint:
            return super().forward_backward(batch)
        self.guests.batch = batch
        return {**super().forward_backward(batch), **self.guests.terms}

    def after_train(self):
        if GATE in self.PLUGINS:
            for plugin in self.guests.plugins:
                plugin.tune()
                plugin.save(self.output_dir)
            self.guests.decider = None
        super().after_train()

    def load_model(self, directory, epoch=None):
        super().load_model(directory, epoch)
        if directory and GATE in self.PLUGINS:
            for plugin in self.guests.plugins:
                plugin.load(directory)
            self.guests.decider = None

    def model_inference(self, input):
        logits = super().model_inference(input)[:, : len(self.dm.dataset.classnames)]
        return self.guests.decide(logits, input) if GATE in self.PLUGINS else logits


def adapt(trainer: type, text_features=None, image_features=None, logit_scale=None, like: str = "") -> type:
    """Registers <Trainer>_SHIP, <Trainer>_SAR, <Trainer>_GATE and their combinations for a trainer that is a TrainerX
    of Dassl's, and returns the first. Call it after the trainer's import.

    The three functions (see Shape) say how `trainer.model` is asked; those left out are of the published trainer that
    it is `like`: CoOp, CoCoOp, KgCoOp, MaPLe, PromptSRC or TCP, by default the one with its name.
    """
    name = trainer.__name__
    if not issubclass(trainer, TrainerX) or issubclass(trainer, FeatureTrainer):
        raise UserError(f"adapt({name}): it must be a TrainerX of Dassl's; a FeatureTrainer has register_twins")
    known = SHAPES.get(like or name, Shape(None))
    given = text_features, image_features, logit_scale
    shape = Shape(*(mine or theirs for mine, theirs in zip(given, known, strict=True)))
    if shape.text_features is None:
        raise UserError(
            f"adapt({name}) needs text_features, image_features and logit_scale, or like= one of {', '.join(SHAPES)}"
        )
    for count in range(1, len(PLUGINS) + 1):
        for chosen in combinations(PLUGINS, count):
            full = "_".join([name, *(plugin.NAME for plugin in chosen)])
            if full in TRAINER_REGISTRY.registered_names():
                print(f"{full}: adapt({name}) takes the place of {TRAINER_REGISTRY.get(full).__module__}'s")
            run = type(full, (HostRun,), {"PLUGINS": chosen})
            about = {"SHAPE": shape, "PLUGINS": chosen, "RUN": run, "__module__": trainer.__module__}
            TRAINER_REGISTRY.register(force=True)(type(full, (Hosted, trainer), about))
    return TRAINER_REGISTRY.get(f"{name}_{SHIP.NAME}")
