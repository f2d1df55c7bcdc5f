"""A foreign trainer as plug-ins see it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.checkout import own_config
from ..core.config import check_options, parts_of, resolve_precision
from ..core.files import UserError
from ..core.images import FeatureData
from ..core.model.backbone import apply_preprocessing, load_backbone
from ..core.model.prompts import templates_for
from ..core.predictor import Stopwatch
from ..core.randomness import preserved_randomness
from ..core.tasks import Task
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


class HostRun:
    """What plug-ins ask of a trainer (FeatureTrainer), answered for the foreign trainer `host`. The backbone is a
    frozen CLIP of our own beside the host's: the generator learns its features of the training images."""

    trains, on_features, STEPS_DRAW, USES_TEXT_FEATURES = True, False, True, True
    hides_bars = None  # progress bars where there is a terminal
    decider = None  # what turns the host's logits into the answer; made when it is first asked

    def __init__(self, host):
        self.host, self.cfg = host, own_config(host.cfg).clone()
        check_options(self.cfg, parts_of(type(host)))
        self.device, self.output_dir, self.watch = host.device, host.output_dir, Stopwatch()
        self.identity, self.batch, self.terms = {}, {}, {}
        dtype, _ = resolve_precision("auto", self.device, "PREC")
        self.backbone = load_backbone(self.cfg, dtype, self.device)
        apply_preprocessing(self.cfg, self.backbone)
        for key in ("PIXEL_MEAN", "PIXEL_STD", "SIZE", "INTERPOLATION"):
            if tuple(host.cfg.INPUT[key]) != tuple(self.cfg.INPUT[key]):
                raise UserError(
                    f"INPUT.{key} is {host.cfg.INPUT[key]}, so {type(host).__name__} sees other images than "
                    f"{self.backbone.name} expects: set it to {self.cfg.INPUT[key]}"
                )
        self.task = HostTask(self.cfg, host.dm.dataset)
        self.dataset = self.task.dataset
        self.data = FeatureData(self, self.task)
        self.plugins = [kind(self) for kind in host.PLUGINS]

    # ---- what plug-ins ask

    @property
    def templates(self):
        own = self.cfg.DATASET.TEMPLATE or getattr(self.dataset, "template", None)
        return templates_for(self.cfg.DATASET.NAME, own)

    @property
    def train_set(self):
        return self.data.train_set

    def search_set(self):
        return self.data.search_set()

    def extra_names(self) -> list[str]:
        return [name for plugin in self.plugins for name in plugin.extra_names()]

    def new_classnames(self) -> list[str]:
        return self.extra_names() or self.task.label_only_classnames()

    def head_classnames(self) -> list[str]:
        return self.task.real_classnames() + self.extra_names()

    def method_head(self, names) -> Columns:
        return Columns(self)

    epoch = property(lambda self: self.host.epoch)
    batch_idx = property(lambda self: self.host.batch_idx)
    head = property(lambda self: self)
    logit_scale = property(lambda self: self.host.SHAPE.logit_scale(self.model).float())

    def text_features(self) -> Tensor:
        return self.texts

    # ---- training

    @property
    def model(self) -> nn.Module:
        model = self.host.model
        return model.module if isinstance(model, nn.DataParallel) else model

    def prepare(self):
        name = type(self.host).__name__
        if SHIP in self.host.PLUGINS and self.cfg.TRAINER.SHIP.SHARE and not self.extra_names():
            raise UserError(
                f"{name}: no class has only a name: set DATASET.SUBSAMPLE_CLASSES base, or TRAINER.SHIP.NEW_CLASSES"
            )
        if SAR in self.host.PLUGINS and self.cfg.TRAINER.SAR.NAMES:
            raise UserError(f"{name}: its model encodes its own class names alone; leave TRAINER.SAR.NAMES out")
        with preserved_randomness():
            for plugin in self.plugins:
                plugin.prepare()

    def encode(self, features: Tensor | None) -> Tensor:
        """Unit text features [C, d] of the host's names; [B, C, d] where they depend on `features` [B, d]."""
        with torch.autocast(self.device.type, enabled=getattr(self.host, "scaler", None) is not None):
            return F.normalize(self.host.SHAPE.text_features(self.model, features).float(), dim=-1)

    def logits_of(self, features: Tensor) -> Tensor:
        """The host's logits [B, C] of unit features [B, d], given `self.texts`."""
        texts = self.texts if self.texts.dim() == 3 else self.texts.expand(len(features), -1, -1)
        return self.logit_scale * torch.einsum("bd,bcd->bc", features, texts)

    def check(self, images: Tensor, theirs: Tensor, names: list[str]):
        """Raises UserError where the host's logits [B, C] of some images are not those of its text features."""
        name, scale = type(self.host).__name__, self.logit_scale
        features = F.normalize(self.host.SHAPE.image_features(self.model, images).float(), dim=-1)
        with torch.enable_grad():
            self.texts = self.encode(features)
        if theirs.shape[1] != len(names) or self.texts.shape[-2] != len(names):
            raise UserError(
                f"{name} was to be built over {len(names)} names, and has {theirs.shape[1]} logits of "
                f"{self.texts.shape[-2]} text features: its build_model does not take dm.dataset.classnames"
            )
        away = ((theirs.float() - self.logits_of(features)).abs().max() / scale).item()
        if away > TOLERANCE:
            raise UserError(
                f"{name}: its logits are not the scaled cosines of text_features and image_features, but {away:.2g} "
                "away: it decides otherwise, or adapt() was given other functions than its model's"
            )
        if not self.texts.requires_grad:
            raise UserError(f"{name}: its text features depend on nothing that it trains")
        if self.texts.dim() == 3 and SAR in self.host.PLUGINS:
            raise UserError(f"{name} cannot have SAR: its text features depend on the image")

    @property
    def share(self) -> float:
        """M / (B + M), of the synthetic rows among all of the batch."""
        rows = len(self.batch.get("synthetic", ()))
        return rows / (len(self.batch["label"]) + rows)

    def add_gradients(self, optimizer, *step):
        """Before a step of the host's optimiser: the gradients of its loss become those of the joint loss."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        with torch.enable_grad():
            loss, self.terms = self.loss()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, added in zip(parameters, gradients, strict=True):
            if parameter.grad is not None:
                parameter.grad.mul_(1 - self.share)
            if added is not None:
                parameter.grad = added if parameter.grad is None else parameter.grad + added

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """What is added to the host's loss, and its terms."""
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

    def decide(self, logits: Tensor, images: Tensor) -> Tensor:
        """The host's logits [B, C] of images, as plug-ins answer."""
        self.logits, names = logits.float(), list(self.dataset.classnames)
        if self.decider is None:
            self.decider = Columns(self)
            for plugin in self.plugins:
                self.decider = plugin.head_for(self.decider, names)
            if isinstance(self.decider, GatedHead):
                self.decider.base.columns = self.decider.is_base
                self.decider.new.columns = ~self.decider.is_base
        if isinstance(self.decider, Columns):
            return logits
        return self.decider(self.backbone.encode_image(images).float())
