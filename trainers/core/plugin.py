"""What a plug-in may do to a run. Hooks are called by trainer.py, predictor.py and run.py, in the order in which the
plug-ins stand in the trainer's name; none is required. The README has an example."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .config import check_overrides
from .data import FeatureSet
from .randomness import derive_seed

if TYPE_CHECKING:
    from .trainer import FeatureTrainer


class Plugin:
    """One plug-in of one run. `trainer` is its FeatureTrainer, `options` its own node of the config."""

    NAME = ""  # the suffix of a trainer that has it: <Method>_<NAME>
    SECTION = ""  # its node under cfg.TRAINER
    OPTIONS: dict[str, object] = {}  # the keys there with their defaults
    LIMITS: dict[str, object] = {}  # what they allow: a config.Range of numbers, or a tuple of words
    REVISION = 1  # raised by every change that moves figures

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        check_overrides(cls, Plugin)

    def __init__(self, trainer: "FeatureTrainer"):
        self.trainer = trainer

    @property
    def cfg(self):
        return self.trainer.cfg

    @property
    def options(self):
        return self.cfg.TRAINER[self.SECTION]

    @classmethod
    def refuses(cls, trainer_class: "type[FeatureTrainer]") -> str:
        """Why a method cannot have this plug-in; "" where it can."""
        name = trainer_class.__name__
        if not hasattr(trainer_class, "REFUSES"):
            return f"it is no FeatureTrainer but foreign code: adapt({name}) makes {name}_{cls.NAME} of it"
        return trainer_class.REFUSES.get(cls.NAME, "")

    def extra_names(self) -> list[str]:
        """Class names, behind the real ones, that the head is built over."""
        return []

    def prepare(self):
        """Before the head is built: train or load what the plug-in needs."""

    def attach(self, head: nn.Module):
        """The head exists, with the parameters that training starts or goes on from."""

    def loader(self):
        """Batches for a run whose task gives no images to train on; None where the plug-in makes none."""

    def batches(self, loader):
        """The training batches (dicts) of an epoch, each time they are iterated, as the method shall see them: what
        can be made ahead of the steps, such as rows "synthetic" [M, d] and "synthetic_label" [M]."""
        return loader

    def batch(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A training batch, unit features [B, d] and labels [B], as the method shall see it."""
        return features, labels

    def penalty(self, features: Tensor, labels: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """{name: scalar}, weights included, that are added to the method's loss and logged by name."""
        return {}

    def support(self, support: FeatureSet | None) -> FeatureSet | None:
        """The few-shot FeatureSet (or None) that a cache is built from, as the method shall see it."""
        return support

    def class_means(self, names: list[str]) -> Tensor | None:
        """Unit means [C, d] of synthetic features of classes, trained or not, for methods in closed form; None where
        the plug-in makes none."""
        return None

    def synthetic(self, names: list[str], per_class: int) -> Tensor | None:
        """`per_class` unit features of each class, class after class [len(names) * per_class, d], for names that come
        after training; None where the plug-in makes none."""
        return None

    def tune(self) -> str:
        """Once, after training: a phrase for results.json that says what was chosen on which images, or ""."""
        return ""

    def head_for(self, head: nn.Module | None, names: list[str]) -> nn.Module | None:
        """What evaluates `names`, given the method's head over them; None where the method cannot have these names."""
        return head

    def save(self, folder: str):
        """Writes the plug-in's own state into the run's output folder, beside the head's."""

    def load(self, folder: str):
        """Reads what `save` wrote."""

    def source(self) -> str:
        """The output folder of another run that this one starts from; "" where there is none."""
        return ""

    def results(self) -> dict:
        """What results.json keeps under "extra"."""
        return {}

    def draws(self, *purpose, epoch: int = 0) -> torch.Generator:
        """A generator of the plug-in's own (CPU), a function of seed, purpose and, within a step, `epoch`: what it
        draws does not move the draws of the method, so that a plug-in of weight zero leaves a run as it is, bit for
        bit."""
        return torch.Generator().manual_seed(derive_seed(self.cfg.SEED, self.NAME, epoch, *purpose))
