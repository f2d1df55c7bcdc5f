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
from dassl.engine import TRAINER_REGISTRY, TrainerX

from ..core import FeatureTrainer
from ..core.files import UserError
from ..core.randomness import preserved_randomness
from ..plugins import PLUGINS
from ..plugins.gate import GATE
from ..plugins.sar import SAR
from ..plugins.ship import SHIP
from .run import HostRun
from .shapes import SHAPES, Shape


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
        what = "a FeatureTrainer: register_twins" if issubclass(trainer, FeatureTrainer) else "no TrainerX of Dassl's"
        raise UserError(f"adapt({name}): it is {what}")
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
