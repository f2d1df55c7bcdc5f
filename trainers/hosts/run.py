"""A foreign trainer as plug-ins see it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.files import UserError
from ..core.randomness import preserved_randomness
from ..core.tasks import Task
from ..core.trainer import FeatureTrainer
from ..plugins.gate import GatedHead
from ..plugins.sar import SAR
from ..plugins.ship import SHIP

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
        self.data = self.new_data()
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
